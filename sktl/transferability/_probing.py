"""What frozen features tell, all from one pass: which stages hold the information, and what more labels are worth."""

from dataclasses import dataclass, replace

import numpy as np

from sktl._splits import make_seeds, nested_order
from sktl.comparison.further_candidates import with_candidates
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.transferability._choosing import rows_against
from sktl.transferability._strategies import probe_on_vectors

__all__ = ["LabelCurve", "probed"]

SHARES = (4, 2)  # of the training images, beside all of them
FEWEST = 2  # images to learn from
HALF = "frozen, half of the labels"


@dataclass(frozen=True, eq=False)
class LabelCurve:
    """Scores of the frozen network at a quarter, at half and at all of the labels, on the same test images.

    Parameters
    ----------
    n_labels : ndarray of shape (n_sizes,)
        Means over the splits, ascending.
    scores : ndarray of shape (n_sizes, n_splits)
        Main score.
    gain, low, high : float
        What the last doubling of the labels gained, and its 95 % interval; NaN with one size or one split.

    See Also
    --------
    StrategyRecommendation : Holds one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.transferability import LabelCurve
    >>> curve = LabelCurve(np.array([40, 80]), np.array([[0.7, 0.6], [0.8, 0.7]]), gain=0.1, low=0.05, high=0.15)
    >>> curve.scores.mean(axis=1)
    array([0.65, 0.75])
    """

    n_labels: np.ndarray
    scores: np.ndarray
    gain: float
    low: float
    high: float


def _label_curve(comparison, vectors, probe, *, random_state, **options):
    """Score the frozen network on nested subsets of the training images of every split."""
    stratify = comparison.settings["task"] == "classification"
    counts = np.array([[len(train) // share for share in SHARES] for train, _ in comparison.splits])
    few = len(np.unique(comparison.y)) if stratify else FEWEST
    used = np.flatnonzero(counts.min(axis=0) >= max(few, FEWEST))
    n_splits, n_sizes, last = comparison.n_splits, len(used), comparison.scores["frozen"]
    if n_sizes == 0:
        return LabelCurve(np.array([comparison.n_train.mean()]), last[None], *(np.nan,) * 3)
    # Seeds after those of the fits, so that no subset is drawn with the numbers that a fit draws with.
    seeds = make_seeds(random_state, "fit", (2 + n_sizes) * n_splits)[n_splits:]
    nested = _nested(comparison, counts[:, used], seeds[:n_splits], stratify)
    blank = replace(comparison, runs=(), splits=tuple(nested), seeds=tuple(seeds[n_splits:]))
    smaller = with_candidates(blank, vectors, {"frozen": probe}, on_error="raise", **options)
    n_labels, scores = (part.reshape(n_splits, n_sizes).T for part in (smaller.n_train, smaller.scores["frozen"]))
    gain = _gain_over(comparison, smaller.runs_of("frozen")[n_sizes - 1 :: n_sizes])
    n_labels = np.append(n_labels.mean(axis=1), comparison.n_train.mean())
    return LabelCurve(n_labels, np.vstack([scores, last]), gain.difference, gain.low, gain.high)


def _gain_over(comparison, runs):
    """Compare the frozen network with itself on half of the labels, whose runs are one a split."""
    half = [replace(run, candidate=HALF, split=split) for split, run in enumerate(runs)]
    transfer = {**comparison.transfer, HALF: True}
    return rows_against(replace(comparison, runs=(*comparison.runs, *half), transfer=transfer), HALF)["frozen"]


def _nested(comparison, counts, seeds, stratify):
    """Draw the subsets, split by split: each is part of the next."""
    nested = []
    for (train, test), row, seed in zip(comparison.splits, counts, seeds, strict=True):
        labels = comparison.y[train] if stratify else np.zeros(len(train))
        ranked = train[nested_order(labels, seed)]
        nested += [(np.sort(ranked[:count]), test) for count in row]
    return nested


def probed(comparison, X, strategies, *, network, random_state, verbose=0, **running):
    """Score the frozen strategies that a comparison lacks, and the network on fewer labels: nothing goes through it."""
    if verbose:
        print(f"Scoring {len(strategies)} choices of stages and pooling, and fewer labels …", flush=True)
    vectors = frozen_extractor(**network, on_error="nan").fit_transform(X)  # from the store
    probes = {one.name: probe_on_vectors(comparison.settings["task"], columns) for one, columns in strategies.items()}
    curve = _label_curve(comparison, vectors, probes.pop("frozen"), random_state=random_state, **running)
    return with_candidates(comparison, vectors, probes, like="frozen", **running) if probes else comparison, curve
