"""compare_transfer: candidates with and without transfer on the same folds."""

from __future__ import annotations

from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sktl._candidate_names import CANDIDATE_NAMES
from sktl._score_bounds import bounds_of_scorers
from sktl._splits import fixed_random_state, make_seeds
from sktl._targets import check_data
from sktl._validation import Interval, StrOptions, did_you_mean, validate_params
from sktl.comparison._candidates import make_candidates, names_used, recipes_of, refuse_unlabelled
from sktl.comparison._checkpoint_file import CheckpointFile
from sktl.comparison._domains import Domains
from sktl.comparison._execution import run_all
from sktl.comparison._first_pass import check_bad_images, kept_together, look_through
from sktl.comparison._group_gap import Grouping
from sktl.comparison._leakage import warn_of_near_duplicates
from sktl.comparison._networks import check_networks, first_images, note_on_photographs
from sktl.comparison._result import TransferComparison
from sktl.comparison._resume_key import versions
from sktl.comparison._scoring import check_scoring
from sktl.comparison.difference import INTERVALS
from sktl.comparison.further_candidates import facts_of
from sktl.comparison.recorded_call import recorded_call
from sktl.fine_tuning import FineTuneClassifier
from sktl.images import read_once
from sktl.images.paths import common_folder
from sktl.inference import PRECISIONS

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.random import RandomState
    from numpy.typing import ArrayLike


__all__ = ["compare_transfer"]

# The estimators would refuse the same values, but as the failure of a fit.
SHARED_CONSTRAINTS = {
    name: FineTuneClassifier._parameter_constraints[name]
    for name in ("unfreeze_depth", "max_epochs", "image_size", "image_shape", "value_range", "batch_size", "n_jobs")
}


@validate_params(
    {
        "task": [StrOptions({"auto", "classification", "regression"})],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "target_only": [list, tuple],
        "rope": [Interval(Real, 0, None, closed="left")],
        "interval": [StrOptions(set(INTERVALS))],
        "random_state": ["random_state"],
        "duplicates": [StrOptions({"warn", "ignore", "group"})],
        "on_bad_image": [StrOptions({"raise", "skip"})],
        "resume": [str, Path, None],
        "on_error": [StrOptions({"warn", "raise"})],
        "verbose": ["verbose"],
        "precision": [StrOptions(set(PRECISIONS))],
        **SHARED_CONSTRAINTS,
    },
    prefer_skip_nested_validation=False,
)
def compare_transfer(
    X: Any,
    y: ArrayLike,
    *,
    backbone: Any = "tiny_fractal",
    weights: Any = "default",
    candidates: Sequence[str] | Mapping[str, Any] = CANDIDATE_NAMES,
    baseline: str = "from_scratch",
    task: Literal["auto", "classification", "regression"] = "auto",
    cv: Any = 5,
    n_repeats: int = 1,
    groups: ArrayLike | None = None,
    sample_domain: ArrayLike | None = None,
    target_only: Sequence[str] = (),
    scoring: Any = None,
    rope: float = 0.01,
    interval: Literal["auto", "corrected"] = "auto",
    unfreeze_depth: int | Literal["all"] = 1,
    max_epochs: int | Literal["auto"] = "auto",
    image_size: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    n_jobs: int | None = None,
    random_state: int | RandomState | None = 0,
    duplicates: Literal["warn", "ignore", "group"] = "warn",
    on_bad_image: Literal["raise", "skip"] = "raise",
    resume: str | os.PathLike[str] | None = None,
    on_error: Literal["warn", "raise"] = "warn",
    verbose: int = 0,
) -> TransferComparison:
    """Compare transfer learning with training from scratch, on the same folds of your data.

    Every candidate is fitted and scored on every split. The differences to the baseline come with an interval that
    allows for training images that the splits share, with the probabilities of being worse, practically equal and
    better, and with a verdict in words.

    The candidates that go by a name are these recipes (for regression in brackets):

    - ``"dummy"``: ``DummyClassifier()`` [``DummyRegressor()``]. The chance level.
    - ``"pixels"``: ``make_pipeline(PixelFeatures(size=16), LinearProbeClassifier())`` [``LinearProbeRegressor()`` at
      the end]. What colours and coarse shapes score.
    - ``"frozen_random"``: as ``"frozen"``, with ``weights=None`` and ``random_state=random_state``: the same network
      with random weights, drawn once for all splits. What the network scores without its pretraining.
    - ``"frozen"``: ``make_pipeline(PretrainedFeatureExtractor(backbone, weights=weights, layer="all",
      pooling="avg+std"), LinearProbeClassifier())`` [``LinearProbeRegressor()`` at the end].
    - ``"fine_tuned"``: ``FineTuneClassifier(backbone, weights=weights, unfreeze_depth=unfreeze_depth,
      max_epochs=max_epochs)`` [``FineTuneRegressor``].
    - ``"from_scratch"``: the same estimator with ``weights=None`` and ``unfreeze_depth="all"``: the same network from
      random weights, everything trained, with the same `max_epochs` and `batch_size`.

    All of them receive `image_size`, `image_shape`, `value_range`, `batch_size`, `device` and `precision` too.

    Parameters
    ----------
    X : sequence of images of length n_images
        Whatever the candidates take. For those that go by a name: paths, PIL images, arrays of shape (H, W), (H, W, C)
        or (C, H, W), or anything else that sktl reads.
    y : array-like of shape (n_images,)
        Class labels, or numbers for regression.
    backbone : str, torch.nn.Module, Backbone or fitted estimator, default="tiny_fractal"
        The pretrained network.
    weights : str, path or weights, default="default"
        Its pretrained weights. Not None, and `backbone` no record of a network with random ones: training without
        pretrained weights is the candidate ``"from_scratch"``.
    candidates : sequence of str or dict, default=("dummy", "pixels", "frozen_random", "frozen", "fine_tuned", \
            "from_scratch")
        Names of recipes, or a dictionary from names of your own to scikit-learn estimators or names of recipes.
    baseline : str, default="from_scratch"
        Name of the candidate the others are compared with. A candidate called "dummy" stands for the chance level.
    task : {"auto", "classification", "regression"}, default="auto"
        "auto" follows :func:`sklearn.utils.multiclass.type_of_target`: float labels with a fractional part are
        regression; everything else is classification, floats that are whole numbers too. Counts, for instance, need
        "regression" when that is what you mean.
    cv : int, splitter or iterable of (train, test), default=5
        An int is a number of folds, shuffled with a seed drawn from `random_state`: stratified for classification, and
        groups are kept together when `groups` is passed. The splits are made once and shared by all candidates.
    n_repeats : int, default=1
        How many times the folds are drawn anew, when `cv` is an int.
    groups : array-like of shape (n_images,), default=None
        Images of one group never lie on both sides of a split: several photos of one patient, say. A splitter passed
        as `cv` must heed them. The result tells what folds that ignore them score (`group_gap`), and without groups,
        whether folders, names or dates of the files suggest some.
    sample_domain : array-like of shape (n_images,), int, default=None
        Domains of the images: positive numbers for the source, negative ones for the target, as in skada. Splits then
        divide the target: each tests on a part of it, and trains on the others and on all images of the source.
        Candidates that ask for `sample_domain` by scikit-learn's metadata routing, such as skada's pipelines, get all
        of these images, and the labels of the source alone, as numbers from 0, with -1 (in a regression NaN) for the
        target. All others are fitted on the source alone.
    target_only : sequence of str, default=()
        Names of candidates that are fitted on the target's training images and their labels instead: what an
        adaptation can hardly reach.
    scoring : str, callable, sequence of str or dict of str to (str or callable), default=None
        One or several scikit-learn scorers; accuracy for classification and R² for regression when None. Greater is
        better, as with all scorers. The first is the main one, which the verdict is about.
    rope : float, default=0.01
        Region of practical equivalence: differences from -rope to rope, in units of the score, count as equal. The
        default suits accuracy and R²; choose it anew for an error in units of its own.
    interval : {"auto", "corrected"}, default="auto"
        How intervals, p-values, probabilities and verdicts are computed. "corrected" looks at the scores of the splits
        alone, and widens their variance for training images that splits share [1]_. "auto" estimates, where it can, two
        parts of the variance: which images were tested, image by image [4]_, and the luck of each training, between
        splits; the rows call that "crossed". It can where the first score is accuracy, balanced accuracy, R², or a mean
        absolute, squared or root mean squared error, and predictions are known; the rest is "corrected". A crossed
        interval is about the difference on further images of this kind, in the mean over the luck of training, for
        models that the recipes train on this data set: luck that all trainings on it share is in no interval.
    unfreeze_depth : int or "all", default=1
        How many top stages ``"fine_tuned"`` trains.
    max_epochs : int or "auto", default="auto"
        Training budget of ``"fine_tuned"`` and ``"from_scratch"`` alike.
    image_size : int, default=None
        Side length in pixels that images are brought to, instead of the one the weights were trained with.
    image_shape : tuple of int, default=None
        Shape of the images when `X` holds flattened ones.
    value_range : tuple of two float, default=None
        Values of black and white in float images, when they are not in [0, 1].
    batch_size : int, default=32
        Images per step.
    device : str, default="auto"
        Where to compute.
    precision : str, default="auto"
        Number format of the computation.
    n_jobs : int, default=None
        Number of fits run at once, by joblib; None is 1. The scores do not depend on it.
    random_state : int, RandomState or None, default=0
        Every split gets a seed of its own, derived from this, for every parameter of every candidate that is called
        random_state. A constant seed over all splits would make tests find differences between a recipe and itself.
        ``"frozen_random"`` alone keeps its random weights over all splits.
    duplicates : {"warn", "ignore", "group"}, default="warn"
        Whether to look for near copies of one image on both sides of a split, before the first fit, and to warn of
        them, or to keep them on one side, together with `groups`: see :func:`near_duplicate_groups`.
    on_bad_image : {"raise", "skip"}, default="raise"
        What to do with images that cannot be read. One pass before the first fit finds all of them: an error names
        them, or they are left out of all splits, with their `y` and `groups`, and are named in the result. Indices in
        the result count the images of `X` as it was passed.
    resume : str or Path, default=None
        File in which every finished fit is kept at once. Called again with the same file, data, splits, seeds,
        candidates, scores and versions, only what is missing is done. Needs a fixed `random_state`.
    on_error : {"warn", "raise"}, default="warn"
        A candidate that fails is left out with a warning and listed in the result, or ends the comparison. Without the
        baseline, or a second candidate, there is no comparison, and it ends with the first error.
    verbose : int, default=0
        If positive, one line per fit, with an estimate of how long the rest takes, and the scores so far as soon as the
        candidates that train no network are through, and from time to time. On a terminal, a bar within each fit.

    Returns
    -------
    TransferComparison
        Scores, costs, differences and the verdict; print it, or call its `summary`, `frame`, `plot` and `report`.

    Raises
    ------
    TypeError
        If `X` is a single path or text, or a candidate is neither an estimator nor a name.
    ValueError
        If `y` is neither labels nor numbers or holds a single class, lengths differ, the baseline or a name is unknown,
        a candidate does not fit the task, a split trains on images that it tests on or on others of their group,
        `scoring` is a metric rather than a scorer, the network, its weights or the device are not to be had, the
        weights are random ones, or `resume` is a file of something else.
    BadImagesError
        If images cannot be read, unless they are to be left out and others remain. Its `bad_images` has all of them.
    RuntimeError
        If an image can no longer be read in a fit, the baseline fails on a split, or its score is not finite, or fewer
        than two candidates are left; with ``on_error="raise"`` if any candidate fails. Carries the original error as
        its cause.
    OSError
        If the file `resume` cannot be read or written.

    Warns
    -----
    CandidateFailedWarning
        If a candidate failed and was left out.
    NearDuplicatesWarning
        If near copies of one image lie on both sides of a split.
    PhotographsWarning
        If the bundled network is shown photographs, once in a process.
    ResumeWarning
        If `resume` has lines that cannot be read, or cannot be written to any longer, or if a later call will not
        recognise the fits of a candidate.

    See Also
    --------
    TransferComparison : What is returned.

    Notes
    -----
    Candidates that train a network are fitted last, on all splits, and ``"frozen_random"`` before them: a first answer
    is there soon. Neither scores nor seeds depend on that order.
    The seconds are wall-clock seconds of this run. Frozen features come from the embedding store: an image is embedded
    in the first fit that needs it, and its seconds are in that fit.
    Every candidate is compared with the baseline on its own, without correction for comparing several.

    References
    ----------
    .. [1] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 239-281, 2003,
           :doi:`10.1023/A:1024068626366`.
    .. [2] A. Benavoli, G. Corani, J. Demšar and M. Zaffalon, "Time for a change: a tutorial for comparing multiple
           classifiers through Bayesian analysis", JMLR 18, 2017, :arxiv:`1606.04316`.
    .. [3] Z. Wang, Z. Dai, B. Póczos and J. Carbonell, "Characterizing and avoiding negative transfer", CVPR 2019,
           :arxiv:`1811.09751`.
    .. [4] P. Bayle, A. Bayle, L. Janson and L. Mackey, "Cross-validation confidence intervals for test error", NeurIPS
           2020, :arxiv:`2007.12671`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktl import compare_transfer
    >>> X, y = load_digits(return_X_y=True)
    >>> comparison = compare_transfer(
    ...     X[:60], y[:60], cv=2, baseline="pixels", value_range=(0, 16),
    ...     candidates={"dummy": "dummy", "frozen": "frozen", "pixels": LogisticRegression(max_iter=1000)})
    >>> comparison.candidates
    ['dummy', 'frozen', 'pixels']
    >>> comparison.scores["frozen"].shape
    (2,)
    """
    given = dict(locals())
    _check_weights(weights)
    X, (y, task) = read_once(X), check_data(X, y, groups, task)
    reading = {"image_shape": image_shape, "value_range": value_range, "batch_size": batch_size}
    own = {"weights": weights, "unfreeze_depth": unfreeze_depth, "max_epochs": max_epochs}
    shared = {"backbone": backbone, "image_size": image_size, "device": device, "precision": precision, **reading}
    random_state = fixed_random_state(random_state)
    estimators = make_candidates(candidates, task=task, random_state=random_state, **own, **shared)
    _check_candidates(estimators, baseline, y)
    domains = Domains(sample_domain, target_only, y, task, estimators)
    scorers = check_scoring(scoring, task)
    images = first_images(X, image_shape)
    check_networks(names_used(candidates), images, **own, **shared)
    drawing = {"n_repeats": n_repeats, "task": task, "random_state": random_state}
    drawing["cv"] = list(cv) if hasattr(cv, "__next__") else cv
    # What cannot be drawn is found out before the images are read; groups of near copies come after that.
    splits = None if duplicates == "group" else domains.splits(X, y, groups=groups, **drawing)
    running: dict[str, Any] = {"n_jobs": n_jobs, "verbose": verbose}
    checkpoint_file = None if resume is None else CheckpointFile(resume, X, y, scorers, domains.candidates(estimators))
    found, bad = look_through(X, duplicates=duplicates, backbone=backbone, **running, **reading)
    bad = check_bad_images(bad, y, task, on_bad_image, estimators, verbose)
    together = kept_together(found, groups, verbose) if duplicates == "group" else groups
    if splits is None or bad:
        splits = domains.splits(X, y, groups=together, left_out=list(bad), **drawing)
    seeds = make_seeds(random_state, "fit", len(splits))
    grouping = Grouping(X, y, task, groups, together, verbose)
    notes = warn_of_near_duplicates(found, X, splits, groups, reading) | {"suggested_groups": grouping.note}
    running |= {"scorers": scorers, "baseline": baseline, "on_error": on_error, "checkpoint_file": checkpoint_file}
    runs = run_all(domains.candidates(estimators), domains.rows(X), y, splits=splits, seeds=seeds, **running)
    told = (runs, estimators, recipes_of(candidates), splits, seeds, list(bad), drawing, running)
    measured = grouping.measured(*(() if domains else told))
    settings = {"task": task, "cv": repr(cv), "n_repeats": n_repeats, "random_state": random_state, **own, **shared}
    settings |= {**notes, "groups": together is not None, "photographs": images, "data": common_folder(X)}
    settings |= {"recipes": recipes_of(candidates), "score_bounds": bounds_of_scorers(scorers)}
    settings |= domains.settings
    settings["call"] = recorded_call(given | {"random_state": random_state}, signature(compare_transfer).parameters)
    judging = {"baseline": baseline, "scoring": next(iter(scorers)), "rope": float(rope), "interval": interval}
    return _collect(runs, splits, y, seeds, settings, estimators, bad, judging | measured)


def _check_weights(weights):
    if weights is None:
        raise ValueError(
            "weights must name pretrained weights. Got None instead. Training without them is what the candidate "
            "'from_scratch' does."
        )


def _check_candidates(estimators, baseline, y):
    refuse_unlabelled(estimators, y)
    if baseline not in estimators:
        raise ValueError(
            f"baseline must be one of the candidates {list(estimators)}. Got {baseline!r} instead."
            f"{did_you_mean(baseline, estimators)}"
        )


def _collect(runs, splits, y, seeds, settings, estimators, bad, judging):
    transfer, facts = facts_of(runs, estimators)
    settings = settings | {
        "n_images": int(np.unique(np.concatenate([np.concatenate(split) for split in splits])).size),
        **facts,
        "photographs": note_on_photographs(settings["photographs"], [run.network for run in runs]),
        "versions": versions(),
    }
    return TransferComparison(
        runs=tuple(runs),
        splits=tuple(splits),
        y=y,
        seeds=tuple(seeds),
        transfer=transfer,
        settings=settings,
        bad_images=tuple(bad.values()),
        **judging,
    )
