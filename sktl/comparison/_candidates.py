"""The candidates of a comparison: those that go by a name, and the user's own estimators."""

from collections.abc import Mapping

from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import make_pipeline

from sktl._candidate_names import CANDIDATE_NAMES
from sktl._validation import did_you_mean
from sktl.feature_extraction import PixelFeatures, PretrainedClassifier, PretrainedFeatureExtractor
from sktl.feature_extraction.frozen_pipeline import KeptSeed, frozen_pipeline, linear_probe
from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor

__all__ = [
    "make_candidates",
    "names_used",
    "networks_in_turn",
    "reads_images",
    "recipes_of",
    "refuse_unlabelled",
    "tier_of",
    "uses_transfer",
]

TRANSFER_ESTIMATORS = (PretrainedFeatureExtractor, FineTuneClassifier, FineTuneRegressor)
READERS = (*TRANSFER_ESTIMATORS, PixelFeatures, PretrainedClassifier)


def make_candidates(candidates, *, task, weights, unfreeze_depth, max_epochs, random_state, **shared):
    """Turn names, or a dictionary of names and estimators, into unfitted estimators."""
    named = _as_mapping(candidates)
    if len(named) < 2:
        raise ValueError(f"candidates must name at least two to compare. Got {list(named)} instead.")

    def resolve(value):
        if not isinstance(value, str):
            return value
        return _named_candidate(value, task, weights, unfreeze_depth, max_epochs, random_state, shared)

    estimators = {name: resolve(value) for name, value in named.items()}
    for name, estimator in estimators.items():
        _check_estimator(name, estimator, task)
    return estimators


def names_used(candidates):
    """Return the names of the recipes that are among the candidates."""
    return {recipe for recipe in recipes_of(candidates).values() if recipe is not None}


def recipes_of(candidates):
    """Return the name of the recipe behind each candidate; None for estimators of the user's own."""
    return {name: value if isinstance(value, str) else None for name, value in _as_mapping(candidates).items()}


def _as_mapping(candidates):
    if isinstance(candidates, Mapping):
        named = dict(candidates)
    elif isinstance(candidates, str) or not hasattr(candidates, "__iter__"):
        raise TypeError(
            "candidates must be a sequence of names or a dictionary of names and estimators. "
            f"Got {candidates!r} instead."
        )
    else:
        names = list(candidates)
        if strangers := [name for name in names if not isinstance(name, str)]:
            raise TypeError(
                f"candidates must be names when passed as a sequence. Got {strangers[0]!r} instead. "
                "Give your own estimators a name in a dictionary: {'mine': estimator, 'frozen': 'frozen'}."
            )
        if len(set(names)) < len(names):
            raise ValueError(f"candidates must be different. Got {names} instead.")
        named = {name: name for name in names}
    if strangers := [name for name in named if not isinstance(name, str)]:
        raise TypeError(f"The names of candidates must be str. Got {strangers[0]!r} instead.")
    return named


def _named_candidate(name, task, weights, unfreeze_depth, max_epochs, random_state, shared):
    """Make one of the candidates that go by a name; the user guide and compare_transfer show them word by word."""
    classification = task == "classification"
    if name == "dummy":
        return DummyClassifier() if classification else DummyRegressor()
    if name == "pixels":
        reading = {name: shared.get(name) for name in ("image_shape", "value_range")}
        return make_pipeline(PixelFeatures(**reading), linear_probe(task))
    if name == "frozen":
        return frozen_pipeline(task, weights=weights, **shared)
    if name == "frozen_random":
        # One draw for all splits, as there is one pretrained network: an image then goes through it once.
        return frozen_pipeline(task, weights=None, random_state=KeptSeed(random_state), **shared)
    fine_tune = FineTuneClassifier if classification else FineTuneRegressor
    if name == "fine_tuned":
        return fine_tune(weights=weights, unfreeze_depth=unfreeze_depth, max_epochs=max_epochs, **shared)
    if name == "from_scratch":
        return fine_tune(weights=None, unfreeze_depth="all", max_epochs=max_epochs, **shared)
    raise ValueError(
        f"A candidate given by name must be one of {', '.join(CANDIDATE_NAMES)}. Got {name!r} instead."
        f"{did_you_mean(name, CANDIDATE_NAMES)}"
    )


def _check_estimator(name, estimator, task):
    if isinstance(estimator, type) or not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        advice = " Write the class with brackets behind it." if isinstance(estimator, type) else ""
        raise TypeError(
            f"Candidate {name!r} must be a scikit-learn estimator or the name of a recipe. "
            f"Got {estimator!r} instead.{advice}"
        )
    misfit = is_regressor if task == "classification" else is_classifier
    if misfit(estimator):
        raise ValueError(
            f"Candidate {name!r} must fit the task, which is {task}. Got {type(estimator).__name__} instead. "
            "The task was read from y; task='classification' or task='regression' overrules that."
        )


def refuse_unlabelled(estimators, y):
    """Raise ValueError where a candidate takes -1 for images without a label: to the others it is a class."""
    if y.dtype.kind not in "iuf" or not (y == -1).any():
        return
    for name, estimator in estimators.items():
        for part in (estimator, *estimator.get_params(deep=True).values()):
            teacher = part.teacher if isinstance(part, FineTuneClassifier) else None
            knows = getattr(part, "teacher_cv", None) is None and -1 in list(getattr(teacher, "classes_", []))
            if teacher is not None and not knows:
                raise ValueError(
                    f"y must have a label for every image in a comparison. Got -1 for {(y == -1).sum()} of {len(y)} "
                    f"instead, which {name!r} with its teacher takes for unlabelled. Leave these out, and score what "
                    "learns from them with cross_val_score."
                )


def tier_of(estimator):
    """Tell when the fits of a candidate come: 0, first, 1 for networks as they are drawn, 2 where one is trained."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    if any(isinstance(part, (FineTuneClassifier, FineTuneRegressor)) for part in parts):
        return 2
    return int(any(isinstance(part, PretrainedFeatureExtractor) and part.weights is None for part in parts))


def networks_in_turn(estimators):
    """Give the networks of candidates numbers: each is fitted on all splits before the next, and so loaded once.

    Candidates without a network go with the first, and so do all where there is one.
    """
    numbers: dict = {}
    turns = {}
    for name, estimator in estimators.items():
        parts = [estimator, *estimator.get_params(deep=True).values()]
        backbone = next((part.backbone for part in parts if isinstance(part, TRANSFER_ESTIMATORS)), None)
        key = backbone if isinstance(backbone, str) else id(backbone)
        turns[name] = 0 if backbone is None else numbers.setdefault(key, len(numbers))
    return turns


def reads_images(estimator):
    """Whether any part of the estimator takes X for images, as sktl does; to others, paths may be names of anything."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(isinstance(part, READERS) for part in parts)


def uses_transfer(estimator):
    """Whether any part of the estimator is meant to start from pretrained weights, by its parameters.

    What it started from in truth is in the record of the network once it is fitted; this is for candidates whose
    fitted parts do not show one.
    """
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(isinstance(part, TRANSFER_ESTIMATORS) and part.weights is not None for part in parts)
