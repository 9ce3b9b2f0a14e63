"""The record of recommend_strategy: every strategy, what it scored or would have cost, and which one to take."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sklearn.base import clone

from sktl._optional import import_optional
from sktl._validation import did_you_mean
from sktl.comparison import TransferComparison
from sktl.comparison.plain_python import as_plain
from sktl.displays import StrategyDisplay
from sktl.reports import summarize_strategies
from sktl.transferability._choosing import Quadrant, rows_against
from sktl.transferability._costs import StrategyCost
from sktl.transferability._probing import LabelCurve
from sktl.transferability._strategies import Strategy

__all__ = ["StrategyRecommendation", "StrategyRow"]


@dataclass(frozen=True)
class StrategyRow:
    """One strategy, summed up in plain Python.

    Parameters
    ----------
    strategy : str
        Its name in the comparison.
    kind : {"as it is", "frozen", "fine-tuned", "from scratch"}
        Which of the four.
    words : str
        What to do.
    stages : tuple of str
        Stages whose features are taken, or that are trained.
    mean, sd : float or None
        Mean of the score over the splits, and standard deviation over the splits; None where it was not tried.
    difference, low, high : float or None
        Mean score minus that of the recommended strategy, and its 95 % interval; None for that one itself.
    seconds : float
        Predicted seconds to fit it once on all images; NaN where that could not be told.
    predicted_seconds : float or None
        Predicted seconds of its fits and predictions in the comparison; None where it trains no network.
    measured_seconds : float or None
        The same as measured; None where it was not tried.
    not_tried : str or None
        Why it was not tried.

    See Also
    --------
    StrategyRecommendation.rows : Makes them.

    Examples
    --------
    >>> from sktl.transferability import StrategyRow
    >>> row = StrategyRow("fine_tuned_all", "fine-tuned", "fine-tune all stages", ("stem", "stage1"), None, None, None,
    ...                   None, None, 90.0, 400.0, None, "the budget was used up")
    >>> row.mean is None
    True
    """

    strategy: str
    kind: str
    words: str
    stages: tuple[str, ...]
    mean: float | None
    sd: float | None
    difference: float | None
    low: float | None
    high: float | None
    seconds: float
    predicted_seconds: float | None
    measured_seconds: float | None
    not_tried: str | None


@dataclass(frozen=True, eq=False, repr=False)
class StrategyRecommendation:
    """What :func:`recommend_strategy` measured, and which strategy follows from it.

    Printing it gives the answer in words, what it rests on, what it costs and what would change it; notebooks show it
    as HTML.

    Parameters
    ----------
    comparison : TransferComparison
        All that was fitted, on the same splits; "frozen" is its baseline.
    strategies : tuple of Strategy
        All strategies, tried or not.
    costs : dict of str to StrategyCost
        Predicted seconds by name of the strategy.
    recommended : str
        Name of the strategy to take: the cheapest that the data do not tell from the best.
    level : tuple of str
        Strategies that the data do not tell from the best one, the cheapest first.
    untried : dict of str to str
        Why a strategy was not tried.
    labels : LabelCurve
        What fewer labels score, with the network frozen.
    quadrant : Quadrant
        Where the textbook puts the data set.
    peak : str
        The stage whose features alone score best.
    budget, spent : float
        Seconds that were to be spent, and that were.
    corrected : CorrectedScore or None, default=None
        Score of the best of the strategies that were tried, corrected for its having been chosen.

    See Also
    --------
    recommend_strategy : Makes one.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.transferability import recommend_strategy
    >>> X, y = load_digits(return_X_y=True)
    >>> found = recommend_strategy(X[:24], y[:24] % 2, cv=2, budget=0, max_epochs=1, value_range=(0, 16))
    >>> found.to_estimator()[0]
    PretrainedFeatureExtractor(layer='all', pooling='avg+std', value_range=(0, 16))
    """

    comparison: TransferComparison
    strategies: tuple[Strategy, ...]
    costs: dict[str, StrategyCost]
    recommended: str
    level: tuple[str, ...]
    untried: dict[str, str]
    labels: LabelCurve
    quadrant: Quadrant
    peak: str
    budget: float
    spent: float
    corrected: Any = None

    def strategy(self, name: str | None = None) -> Strategy:
        """Find a strategy.

        Parameters
        ----------
        name : str, default=None
            Its name; the recommended one when None.

        Returns
        -------
        Strategy

        Raises
        ------
        ValueError
            If there is no such strategy.
        """
        names = [one.name for one in self.strategies]
        name = self.recommended if name is None else name
        if name not in names:
            raise ValueError(f"name must be one of {names}. Got {name!r} instead.{did_you_mean(name, names)}")
        return self.strategies[names.index(name)]

    def to_estimator(self, name: str | None = None) -> Any:
        """Make the unfitted estimator of a strategy.

        Parameters
        ----------
        name : str, default=None
            Name of the strategy; the recommended one when None.

        Returns
        -------
        estimator
            To be fitted on the images and labels.

        Raises
        ------
        ValueError
            If there is no such strategy.
        """
        return clone(self.strategy(name).estimator)

    def against(self, name: str) -> Any:
        """Compare everything that was scored with one strategy.

        Parameters
        ----------
        name : str
            Name of a strategy that was tried, or of another candidate of the comparison.

        Returns
        -------
        dict of str to ComparisonRow
            By candidate, with differences and intervals against that one.
        """
        return rows_against(self.comparison, name)

    def rows(self) -> list[StrategyRow]:
        """One record per strategy, in plain Python, for those who do without pandas.

        Returns
        -------
        list of StrategyRow
            In the order of the strategies: as it is, frozen, fine-tuned, from scratch.
        """
        rows = self.against(self.recommended)
        return [self._row(one, rows.get(one.name)) for one in self.strategies]

    def _row(self, strategy, row):
        cost, measured = self.costs[strategy.name], None
        trains = strategy.depth is not None
        if trains and row is not None:
            runs = self.comparison.runs_of(strategy.name)
            measured = float(sum(run.fit_seconds + run.predict_seconds for run in runs))
        return StrategyRow(
            strategy=strategy.name,
            kind=strategy.kind,
            words=strategy.words,
            stages=strategy.stages,
            **{name: getattr(row, name, None) for name in ("mean", "sd", "difference", "low", "high")},
            seconds=cost.fit,
            predicted_seconds=cost.folds if trains else None,
            measured_seconds=measured,
            not_tried=self.untried.get(strategy.name),
        )

    def frame(self) -> Any:
        """Every strategy as one row of a data frame.

        Returns
        -------
        pandas.DataFrame
            Indexed by strategy, with the fields of :class:`StrategyRow` as columns.

        Raises
        ------
        ImportError
            If pandas is not installed; `rows` does without.
        """
        pandas = import_optional("pandas", extra="frame", caller="StrategyRecommendation.frame")
        names = [field.name for field in fields(StrategyRow)]
        return pandas.DataFrame([asdict(row) for row in self.rows()], columns=names).set_index("strategy")

    def plot(self, ax: Any = None) -> StrategyDisplay:
        """Draw the score over the stages, and over the seconds of each strategy.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, default=None
            A pair, one Axes to be divided, or None for a new figure.

        Returns
        -------
        StrategyDisplay
            Holds the numbers drawn, and the figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return StrategyDisplay.from_recommendation(self).plot(ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain Python that `json.dumps` takes; numbers that are not finite become None.

        Returns
        -------
        dict
            Keys answer, recommended, level, strategies, labels, quadrant, peak, corrected, budget, spent, notes,
            comparison.
        """
        summary = summarize_strategies(self)
        content = {
            "answer": summary.sentence,
            "recommended": self.recommended,
            "level": self.level,
            "strategies": [asdict(row) for row in self.rows()],
            "labels": {field.name: getattr(self.labels, field.name) for field in fields(self.labels)},
            "quadrant": {**asdict(self.quadrant), "textbook": self.quadrant.textbook},
            "peak": self.peak,
            "corrected": None if self.corrected is None else asdict(self.corrected),
            "budget": self.budget,
            "spent": self.spent,
            "notes": summary.notes,
        }
        return as_plain(content) | {"comparison": self.comparison.to_dict()}

    def __repr__(self):
        return summarize_strategies(self).as_text()

    def _repr_html_(self):
        return summarize_strategies(self).as_html("sktl-strategies")
