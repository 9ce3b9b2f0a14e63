"""How training went, epoch by epoch: losses of every fold, and their mean as far as all folds went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sktl._optional import import_optional
from sktl._text import as_written
from sktl._validation import did_you_mean
from sktl.displays._drawing import BLUE, ORANGE, axes_for, label, light_spines

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["TrainingCurveDisplay"]

MEASURES = ("train_loss", "valid_loss", "valid_accuracy")
LOOKS = {"train_loss": ("training", BLUE, "-"), "valid_loss": ("validation", ORANGE, "--")}


class TrainingCurveDisplay:
    """Training and validation loss per epoch: every fold faint, and the mean of all folds.

    The mean ends where the first fold ends: early stopping ends folds at different epochs, and a mean over those that
    are left would jump.

    Parameters
    ----------
    histories : list of list of dict
        For every fold one record per epoch, with "epoch" (from 1), "train_loss", and where there is validation
        "valid_loss" and "valid_accuracy".
    title : str, default=""
        What was trained.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    ax_ : matplotlib Axes
        The axes drawn into; set by `plot`.

    See Also
    --------
    FineTuneClassifier : Keeps the record in its `history_`.

    Examples
    --------
    >>> from sktl import FineTuneClassifier
    >>> from sktl.displays import TrainingCurveDisplay
    >>> from sktl.datasets import make_fractals
    >>> X, y = make_fractals(30, n_classes=2, random_state=0)
    >>> model = FineTuneClassifier(max_epochs=3, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(model)
    >>> display.mean("train_loss").shape
    (3,)
    >>> display.plot().ax_.get_xlabel()
    'epoch'
    """

    def __init__(self, histories: Any, *, title: str = "") -> None:
        self.histories = histories
        self.title = title

    @classmethod
    def from_comparison(cls, comparison: Any, candidate: str | None = None) -> TrainingCurveDisplay:
        """Take the record of every split of one candidate.

        Parameters
        ----------
        comparison : TransferComparison
            What was compared.
        candidate : str or None, default=None
            Whose training; None takes the best of those that trained by epochs.

        Returns
        -------
        TrainingCurveDisplay
            Not drawn yet.

        Raises
        ------
        ValueError
            If there is no such candidate, or it did not train by epochs.
        """
        trained = [name for name in comparison.candidates if any(comparison.histories(name))]
        if candidate is None:
            scores = comparison.scores
            candidate = max(trained or scores, key=lambda name: np.mean(scores[name]))
        histories = comparison.histories(candidate)
        if candidate not in trained:
            advice = f" Those that did: {trained}." if trained else ""
            raise ValueError(
                f"candidate must have trained a network by epochs. Got {candidate!r} instead, which did not.{advice}"
            )
        return cls([_plain(one) for one in histories if one], title=candidate)

    @classmethod
    def from_estimator(cls, estimator: Any) -> TrainingCurveDisplay:
        """Take the record of one fitted estimator.

        Parameters
        ----------
        estimator : FineTuneClassifier, FineTuneRegressor, or a pipeline that ends in one
            Fitted.

        Returns
        -------
        TrainingCurveDisplay
            Not drawn yet.

        Raises
        ------
        TypeError
            If there is no `history_`.
        """
        last = estimator[-1] if hasattr(estimator, "steps") else estimator
        history = getattr(last, "history_", None)
        if history is None:
            raise TypeError(
                f"estimator must be a fitted FineTuneClassifier or FineTuneRegressor. Got {estimator!r} instead, which "
                "has no history_. Call fit first; take best_estimator_ of a search."
            )
        return cls([_plain(history)], title=type(last).__name__)

    @property
    def n_epochs(self) -> Any:
        """Number of epochs that every fold reached."""
        return min(map(len, self.histories))

    def mean(self, measure: Literal["train_loss", "valid_loss", "valid_accuracy"]) -> NDArray[Any]:
        """Average over the folds, as far as all of them went.

        Parameters
        ----------
        measure : {"train_loss", "valid_loss", "valid_accuracy"}
            What to average.

        Returns
        -------
        ndarray of shape (n_epochs,)
            One mean per epoch that every fold reached; NaN where a fold does not tell.

        Raises
        ------
        ValueError
            If `measure` is unknown.
        """
        if measure not in MEASURES:
            hint = did_you_mean(measure, MEASURES)
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}. Got {measure!r} instead.{hint}")
        return np.mean([self._values(one, measure)[: self.n_epochs] for one in self.histories], axis=0)

    def plot(self, ax: Any = None) -> TrainingCurveDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TrainingCurveDisplay
            Itself, with `figure_` and `ax_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = self.ax_ = axes_for(ax, "TrainingCurveDisplay.plot", (6.4, 4.2))
        self.figure_ = ax.figure
        for measure, (name, color, line) in LOOKS.items():
            if np.isfinite(np.concatenate([self._values(one, measure) for one in self.histories])).any():
                self._draw(ax, measure, name, color, line)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss (less is better)")
        ax.xaxis.get_major_locator().set_params(integer=True)
        n_folds = len(self.histories)
        about = "one training" if n_folds == 1 else f"{n_folds} folds; bold: mean while all of them train"
        ax.set_title(f"{as_written(self.title)}: {about}".removeprefix(": "), fontsize="medium", loc="left")
        ax.margins(x=0.16)
        light_spines(ax)
        return self

    def frame(self) -> Any:
        """Every epoch of every fold as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_rows, 5)
            Columns fold, epoch, train_loss, valid_loss, valid_accuracy; NaN where there is no validation.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="TrainingCurveDisplay.frame")
        records = [{"fold": fold, **epoch} for fold, history in enumerate(self.histories) for epoch in history]
        return pandas.DataFrame(records, columns=["fold", "epoch", *MEASURES])

    @staticmethod
    def _values(history, measure):
        return np.array([epoch.get(measure, np.nan) for epoch in history], dtype=float)

    def _draw(self, ax, measure, name, color, line):
        several = len(self.histories) > 1
        for history in self.histories if several else ():
            epochs = [epoch["epoch"] for epoch in history]
            ax.plot(epochs, self._values(history, measure), line, color=color, linewidth=0.8, alpha=0.35, zorder=1)
        mean = self.mean(measure)
        epochs = [epoch["epoch"] for epoch in self.histories[0]][: self.n_epochs]
        ax.plot(epochs, mean, line, color=color, linewidth=2.4, zorder=3, marker="o" if len(mean) == 1 else None)
        last = np.flatnonzero(np.isfinite(mean))
        if len(last):
            label(ax, name, (epochs[last[-1]], mean[last[-1]]), (5, 0), color=color, va="center", zorder=4)


def _plain(history):
    """Keep the measures of every epoch as plain numbers; skorch has times, batches and events beside them."""
    names = {"train_loss": "train_loss", "valid_loss": "valid_loss", "valid_acc": "valid_accuracy"}
    names |= {measure: measure for measure in MEASURES}
    return [
        {"epoch": int(epoch["epoch"])} | {names[key]: float(epoch[key]) for key in names if epoch.get(key) is not None}
        for epoch in history
    ]
