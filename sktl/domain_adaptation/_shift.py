"""domain_shift: how well the images of two domains can be told apart, and which of them say it."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils import check_array, check_consistent_length

from sktl._splits import fixed_random_state, make_splits
from sktl._statistics import corrected_interval
from sktl._validation import HasMethods, Interval, StrOptions, validate_params
from sktl.feature_extraction import LinearProbeClassifier
from sktl.feature_extraction.frozen_pipeline import frozen_extractor

if TYPE_CHECKING:
    from numpy.random import RandomState
    from numpy.typing import ArrayLike, NDArray


__all__ = ["DomainShift", "domain_shift"]

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False, repr=False)
class DomainShift:
    """How well images of two domains can be told apart: what :func:`domain_shift` returns. Printing it says so.

    Parameters
    ----------
    auc : float
        Area under the ROC curve, out of fold: the probability that of one image of each domain the one of the target is
        taken for it. 0.5 where nothing tells them apart, 1 where every image does.
    low, high : float
        Its 95 % interval over the folds, corrected for training images that they share; NaN where all folds have one
        value that is not 1.
    source_scores : ndarray of shape (n_source,)
        Probability of each image of the source to be one of the target, by a classifier that has not seen it.
    target_scores : ndarray of shape (n_target,)
        The same of each image of the target.

    See Also
    --------
    domain_shift : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.domain_adaptation import DomainShift
    >>> print(DomainShift(0.9, 0.8, 1.0, np.array([0.1, 0.4]), np.array([0.9, 0.3, 0.7])))
    AUC 0.900 (95 % interval 0.800 to 1.000): the images of the domains can be told apart.
    """

    auc: float
    low: float
    high: float
    source_scores: np.ndarray
    target_scores: np.ndarray

    def most_telling(self, n_images: int = 10) -> NDArray[Any]:
        """Find the images of the target that look least like those of the source.

        Parameters
        ----------
        n_images : int, default=10
            How many at most.

        Returns
        -------
        ndarray of shape (n_images,), int
            Their positions in `X_target`, the most telling first.
        """
        return np.argsort(-self.target_scores, kind="stable")[:n_images]

    def least_telling(self, n_images: int = 10) -> NDArray[Any]:
        """Find the images of the target that look most like those of the source.

        Parameters
        ----------
        n_images : int, default=10
            How many at most.

        Returns
        -------
        ndarray of shape (n_images,), int
            Their positions in `X_target`, the least telling first.
        """
        return np.argsort(self.target_scores, kind="stable")[:n_images]

    def __str__(self):
        known = f" (95 % interval {self.low:.3f} to {self.high:.3f})" if self.low == self.low else ""
        found = (
            "the images of the domains can be"
            if self.low > 0.5
            else "nothing shows that the images of the domains can be"
        )
        return f"AUC {self.auc:.3f}{known}: {found} told apart."

    __repr__ = __str__


@validate_params(
    {
        "extractor": [HasMethods(["fit", "transform"]), StrOptions({"passthrough"}), None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def domain_shift(
    X_source: Any,
    X_target: Any,
    *,
    extractor: Any = None,
    cv: Any = 5,
    n_repeats: int = 1,
    groups: ArrayLike | None = None,
    random_state: int | RandomState | None = 0,
) -> DomainShift:
    """Measure how well the images of two domains can be told apart, by a classifier that is trained to do so.

    A classifier two-sample test [1]_ on embeddings. Where it fails, a model of the source meets nothing new in the
    target. Where it succeeds, something differs, whether or not that harms: brightness, cameras, file formats, classes
    or their shares. Look at the most telling images.

    Parameters
    ----------
    X_source, X_target : sequence of images, or array-like of shape (n_images, n_features)
        Images of the two domains: the training set and new images, say.
    extractor : transformer, "passthrough" or None, default=None
        Makes vectors of the images; it is cloned and fitted on those of the source. None is the extractor of the
        candidate "frozen": ``PretrainedFeatureExtractor(layer="all", pooling="avg+std")``. "passthrough" takes both for
        vectors as they are.
    cv : int or splitter, default=5
        Folds: each image is judged by a classifier that was trained without it.
    n_repeats : int, default=1
        How many times the folds are drawn anew.
    groups : array-like of shape (n_source + n_target,), default=None
        Images of one group lie in one fold; those of the source come first. Near copies of one picture and frames of
        one video need that, or they are recognised rather than judged:
        ``near_duplicate_groups([*X_source, *X_target])``.
    random_state : int, RandomState or None, default=0
        Seed of the folds.

    Returns
    -------
    DomainShift
        The score with its interval, and that of every image.

    Raises
    ------
    ValueError
        If there are fewer images or groups of a domain than folds, a fold tests on one domain alone, or lengths differ.
    ImageReadError
        If an image cannot be read.

    See Also
    --------
    sktl.near_duplicates.near_duplicate_groups : What to pass as `groups`.

    Notes
    -----
    The classifier is a :class:`~sktl.LinearProbeClassifier`, with both domains of the same weight. `auc` is the mean
    over the folds. Where it is 1 in all of them, the interval begins at ``0.025 ** (1 / n)``, with the n images of the
    smaller domain: were it less, n independent pairs without an error would be too unlikely.

    References
    ----------
    .. [1] D. Lopez-Paz and M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017, :arxiv:`1610.06545`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.domain_adaptation import domain_shift
    >>> images = load_digits().images
    >>> same = domain_shift(images[:60], images[60:120])
    >>> bool(same.low < 0.5 < same.high)
    True
    >>> shift = domain_shift(images[:60], 16 - images[60:120])
    >>> print(shift)
    AUC 1.000 (95 % interval 0.940 to 1.000): the images of the domains can be told apart.
    >>> shift.most_telling(3).shape
    (3,)
    """
    vectors = _vectors(X_source, X_target, extractor)
    domain = np.repeat([0, 1], [len(part) for part in vectors])
    vectors = np.concatenate(vectors)
    check_consistent_length(vectors, groups)
    drawing = {"cv": cv, "n_repeats": n_repeats, "groups": groups, "task": "classification"}
    splits = make_splits(vectors, domain, random_state=fixed_random_state(random_state), **drawing)
    sums, times, aucs = np.zeros(len(domain)), np.zeros(len(domain)), []
    for train, test in splits:
        if len(np.unique(domain[test])) < 2 or len(np.unique(domain[train])) < 2:
            raise ValueError(
                "Every fold must have images of both domains. Got one without instead: use fewer folds (cv=3, say)."
            )
        model = LinearProbeClassifier(class_weight="balanced").fit(vectors[train], domain[train])
        scores = model.predict_proba(vectors[test])[:, 1]
        aucs.append(roc_auc_score(domain[test], scores))
        sums[test] += scores
        times[test] += 1
    scores = np.divide(sums, times, out=np.full(len(domain), np.nan), where=times > 0)
    low, high = _interval(np.array(aucs), splits, np.bincount(domain).min())
    return DomainShift(float(np.mean(aucs)), low, high, scores[domain == 0], scores[domain == 1])


def _vectors(X_source, X_target, extractor):
    if isinstance(extractor, str):
        return [check_array(X, dtype=[np.float64, np.float32], input_name="X") for X in (X_source, X_target)]
    extractor = frozen_extractor() if extractor is None else clone(extractor)
    return [extractor.fit_transform(X_source), extractor.transform(X_target)]


def _interval(aucs, splits, n_pairs):
    if (aucs == 1).all():
        return float(((1 - CONFIDENCE) / 2) ** (1 / n_pairs)), 1.0
    n_train, n_test = ([len(split[part]) for split in splits] for part in (0, 1))
    low, high = corrected_interval(aucs, n_train, n_test, CONFIDENCE)
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))
