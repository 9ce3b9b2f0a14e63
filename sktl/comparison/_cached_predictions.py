"""The predictions of a fitted estimator for one set of images: computed once, however many scores ask for them."""

from copy import copy
from functools import wraps

from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor
from sktl.fine_tuning.network_outputs import NetworkOutputs

__all__ = ["CachedPredictions"]

RESPONSES = ("predict", "predict_proba", "decision_function", "predict_log_proba")


class CachedPredictions:
    """Stands in for a fitted estimator: responses for X come from a cache, everything else from the estimator."""

    def __init__(self, estimator, X):
        self._estimator, self._X = estimator, X
        self._responses: dict = {}
        self._part: tuple | None = None

    def __getattr__(self, name):
        attribute = getattr(self._estimator, name)
        return self._cached(name, attribute) if name in RESPONSES else attribute

    def _cached(self, name, method):
        @wraps(method)
        def respond(X, **options):
            if X is not self._X or options:
                return method(X, **options)
            if name not in self._responses:
                part, given = self._last_part()
                self._responses[name] = getattr(part, name)(given)
            return copy(self._responses[name])  # a score may write into what it is given

        return respond

    def _last_part(self):
        """Return the part that makes the predictions, and its input: whatever comes before it is done once, too."""
        if self._part is None:
            self._part = self._found_part()
        return self._part

    def _found_part(self):
        part, given = self._estimator, self._X
        if type(part) in (GridSearchCV, RandomizedSearchCV):
            part = part.best_estimator_
        if type(part) is Pipeline and len(part) > 1:  # one of another kind may do something in between
            for _, step in part.steps[:-1]:
                given = given if step is None or step == "passthrough" else step.transform(given)
            part = part[-1]
        if type(part) in (FineTuneClassifier, FineTuneRegressor):  # one of another kind may look at the images
            given = NetworkOutputs(part, given)
        return part, given

    # What a score of the user's own may do with an estimator.

    @property  # type: ignore[misc]
    def __class__(self):
        return type(self._estimator)

    def __len__(self):
        return len(self._estimator)

    def __getitem__(self, key):
        return self._estimator[key]

    def __repr__(self):
        return repr(self._estimator)

    def __sklearn_tags__(self):
        return get_tags(self._estimator)

    def __sklearn_is_fitted__(self):
        return True

    def __reduce__(self):
        return _itself, (self._estimator,)


def _itself(estimator):
    return estimator
