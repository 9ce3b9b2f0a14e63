"""The record of rank_backbones: a comparison on the same folds, what was measured besides, and what follows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sktl._candidate_names import CHANCE_LEVEL
from sktl._optional import import_optional
from sktl.comparison import TransferComparison
from sktl.comparison.plain_python import as_plain
from sktl.displays import BackboneRankingDisplay
from sktl.reports import summarize_ranking, write_ranking_report
from sktl.transferability._bias_corrected import CorrectedScore
from sktl.transferability._leading_group import intervals_to_leader
from sktl.transferability._measuring import NetworkMeasures
from sktl.transferability._networks import CONTROLS

if TYPE_CHECKING:
    import os


__all__ = ["BackboneRanking", "RankedNetwork", "tuned_name"]

AS_CHEAP = 1.2  # times the fewest seconds: timing does not tell these apart well
ROUNDING = 1e-12


@dataclass(frozen=True)
class RankedNetwork:
    """One network of a ranking, summed up.

    Parameters
    ----------
    name : str
        Its name in the ranking.
    mean, sd : float
        Mean of the score of its frozen candidate over the splits, and standard deviation over the splits.
    difference, low, high : float or None
        Mean score minus that of the leader, and its interval, which is so wide that those of all pairs of networks hold
        at once with 95 % probability; None for the leader itself, NaN where nothing shows how far chance could move it.
    in_leading_group : bool
        Whether it is the leader, or the interval does not leave out zero.
    nearest_neighbour : float
        Leave-one-out score of the most similar other image, see :func:`nearest_neighbour_score`.
    log_me : float
        Log evidence of a linear model, see :func:`log_me`.
    seconds_per_image : float
        From the file to the vector, measured on a few images after the fits, on the machine that ran this.
    n_parameters : int or None
        Of the network.
    top1 : float or None
        Accuracy on the validation images of ImageNet-1k in percent, as published with the weights; None where nothing
        is known.
    license, digest : str
        Of the weights: under which licence they may be used, and their SHA-256.
    image_size : int
        Side in pixels of what the network saw.

    See Also
    --------
    BackboneRanking.rows : Makes them.

    Examples
    --------
    >>> from sktl.transferability import RankedNetwork
    >>> network = RankedNetwork(
    ...     "resnet18", 0.9, 0.02, None, None, None, True, nearest_neighbour=0.8, log_me=-0.4,
    ...     seconds_per_image=0.02, n_parameters=11_176_512, top1=69.758, license="BSD-3-Clause", digest="0f1e",
    ...     image_size=224)
    >>> network.in_leading_group
    True
    """

    name: str
    mean: float
    sd: float
    difference: float | None
    low: float | None
    high: float | None
    in_leading_group: bool
    nearest_neighbour: float
    log_me: float
    seconds_per_image: float
    n_parameters: int | None
    top1: float | None
    license: str
    digest: str
    image_size: int


@dataclass(frozen=True, eq=False, repr=False)
class BackboneRanking:
    """What :func:`rank_backbones` found: the leading group of networks, and which of them to take.

    Printing it gives the answer and a table; notebooks show it as HTML.

    Parameters
    ----------
    comparison : TransferComparison
        All fits of networks, controls and finalists on the same folds. Its `baseline` is the leader.
    measures : dict of str to NetworkMeasures
        What was measured of every network besides its score.
    corrected : CorrectedScore or None
        The score of the leader, corrected for its having been chosen, see :func:`bias_corrected_score`; None for a
        single network, and where predictions do not tell the score.
    finalists : dict of str to str
        Names of networks that were fine-tuned as well, with the reason why they were; empty without finalists.
    left_out : dict of str to str
        Networks on this machine that could not be loaded, each with the reason.

    See Also
    --------
    rank_backbones : Makes one.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import rank_backbones
    >>> X, y = load_digits(return_X_y=True)
    >>> ranking = rank_backbones(X[:60], y[:60], ["tiny_fractal"], cv=3, value_range=(0, 16))
    >>> ranking.leader, ranking.recommended
    ('tiny_fractal', 'tiny_fractal')
    >>> [row.candidate for row in ranking.controls()]
    ['dummy', 'pixels', 'frozen_random']
    """

    comparison: TransferComparison
    measures: dict[str, NetworkMeasures]
    corrected: CorrectedScore | None
    finalists: dict[str, str]
    left_out: dict[str, str]

    @cached_property
    def _rows(self):
        rows = {row.candidate: row for row in self.comparison.rows()}
        names = [name for name in self.measures if name in rows]
        intervals = intervals_to_leader(self.comparison, self.leader, names)
        ranked = [self._ranked(rows[name], *intervals.get(name, (None, None))) for name in names]
        # Of equal scores the leader comes first, as it was chosen.
        return tuple(sorted(ranked, key=lambda row: (-row.mean, row.name != self.leader)))

    def _ranked(self, row, low, high):
        run, measured = self.comparison.runs_of(row.candidate)[0], self.measures[row.candidate]
        network = run.network
        return RankedNetwork(
            row.candidate,
            row.mean,
            row.sd,
            row.difference,
            low,
            high,
            high is None or not high < 0,  # nobody scores more than the leader
            n_parameters=row.n_parameters,
            license=network["license"],
            digest=network["digest"],
            image_size=network["image_size"],
            **asdict(measured),
        )

    def __getstate__(self):
        """Keep the fields in pickles and copies; what follows from them is computed anew."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def networks(self) -> Any:
        """Names of the networks, the best one first."""
        return [row.name for row in self._rows]

    @property
    def leader(self) -> Any:
        """Name of the network with the best mean score."""
        return self.comparison.baseline

    @property
    def leading_group(self) -> Any:
        """Names of the networks that these images cannot tell from the leader, the leader first."""
        return [row.name for row in self._rows if row.in_leading_group]

    @property
    def recommended(self) -> Any:
        """Name of the network to take: the cheapest of the leading group that scores within `rope` of the leader."""
        rope = self.comparison.rope + ROUNDING
        return self._cheapest(row for row in self._rows if self._rows[0].mean - row.mean <= rope)

    @property
    def cheapest(self) -> Any:
        """Name of the cheapest network of the leading group.

        It has not been shown to be worse than the leader, which with few images says little: it may well be.
        """
        return self._cheapest(self._rows)

    def _cheapest(self, rows):
        """Name the one of the leading group that takes the fewest seconds; of about as cheap ones the best."""
        group = [row for row in rows if row.in_leading_group]
        fewest = min(row.seconds_per_image for row in group)
        return next(row.name for row in group if row.seconds_per_image <= AS_CHEAP * fewest)

    @property
    def scoring(self) -> Any:
        """Name of the main score, by which the networks are ranked."""
        return self.comparison.scoring

    def rows(self) -> list[RankedNetwork]:
        """One record per network, in plain Python.

        Returns
        -------
        list of RankedNetwork
            The best one first.
        """
        return list(self._rows)

    def controls(self) -> Any:
        """Sum up what scores without pretraining, on the same folds.

        Returns
        -------
        list of ComparisonRow
            Of "dummy", "pixels" and "frozen_random", as far as they are there; differences are to the leader.
        """
        return [row for row in self.comparison.rows() if row.candidate in CONTROLS]

    @property
    def level_controls(self) -> Any:
        """Names of "pixels" and "frozen_random" where the leader is not clearly better than they are."""
        rows = [row for row in self.controls() if row.candidate != CHANCE_LEVEL]
        return [row.candidate for row in rows if not row.high < 0]

    def fine_tuned(self) -> Any:
        """Sum up the finalists, fine-tuned on the same folds.

        Returns
        -------
        list of ComparisonRow
            One for each finalist that did not fail; differences are to the leader, whose network stays as it is.
        """
        return [row for row in self.comparison.rows() if row.candidate in map(tuned_name, self.finalists)]

    def frame(self) -> Any:
        """Every network as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_networks, n_columns)
            Indexed by name, the best one first, with the fields of :class:`RankedNetwork` as columns.

        Raises
        ------
        ImportError
            If pandas is not installed; `rows` does without.
        """
        pandas = import_optional("pandas", extra="frame", caller="BackboneRanking.frame")
        names = [field.name for field in fields(RankedNetwork)]
        return pandas.DataFrame([asdict(row) for row in self._rows], columns=names).set_index("name")

    def plot(self, ax: Any = None) -> BackboneRankingDisplay:
        """Draw scores against seconds per image.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        BackboneRankingDisplay
            Holds the numbers drawn, and the figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return BackboneRankingDisplay.from_ranking(self).plot(ax=ax)

    def report(self, path: str | os.PathLike[str]) -> Any:
        """Write one self-contained HTML page about the ranking.

        Parameters
        ----------
        path : str or Path
            File to write.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        OSError
            If `path` is a folder, or its folder does not exist.
        """
        return write_ranking_report(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain Python that `json.dumps` takes; numbers that are not finite become None.

        Returns
        -------
        dict
            Keys answer, notes, leader, leading_group, recommended, cheapest, scoring, networks, controls, corrected,
            finalists, fine_tuned, left_out, splits, scores, metrics, failures, bad_images, group_gap, settings.
        """
        summary, content = summarize_ranking(self), self.comparison.to_dict()
        candidates = {row["candidate"]: row for row in content["candidates"]}
        kept = ("splits", "scores", "metrics", "failures", "bad_images", "group_gap", "settings")
        corrected = self.corrected and {name: getattr(self.corrected, name) for name in ("score", "low", "high")}
        return {
            "answer": summary.sentence,
            "notes": summary.notes,
            **{name: getattr(self, name) for name in ("leader", "leading_group", "recommended", "cheapest", "scoring")},
            "networks": as_plain([asdict(row) for row in self._rows]),
            "controls": [candidates[row.candidate] for row in self.controls()],
            "corrected": corrected,
            "finalists": self.finalists,
            "fine_tuned": [candidates[row.candidate] for row in self.fine_tuned()],
            "left_out": self.left_out,
            **{name: content[name] for name in kept},
        }

    def __repr__(self):
        return summarize_ranking(self).as_text()

    def _repr_html_(self):
        return summarize_ranking(self).as_html("sktl-ranking")


def tuned_name(network):
    """Name the candidate that is a network fine-tuned."""
    return f"{network}, fine-tuned"
