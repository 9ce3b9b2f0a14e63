"""Images of two domains: splits that test on the target alone, and candidates that never see its labels."""

import joblib
import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_consistent_length, column_or_1d, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sktl._splits import make_splits
from sktl._validation import did_you_mean
from sktl.images import take_rows

__all__ = ["AcrossDomains", "Domains", "RowsOfDomains"]

HIDDEN = -1  # skada's mark of a class that is not known; of a number it is NaN


class Domains:
    """What follows from `sample_domain` for splits and candidates; nothing where it is None."""

    def __init__(self, sample_domain, target_only, y, task, names):
        self._task, self._target_only, self._numbers = task, tuple(target_only), None
        if sample_domain is not None:
            self._numbers = _checked(sample_domain, y)
        elif self._target_only:
            raise ValueError("target_only must be empty without sample_domain, which says what the target is.")
        if strangers := [name for name in self._target_only if name not in names]:
            raise ValueError(
                f"target_only must name candidates, of {list(names)}. Got {strangers[0]!r} instead."
                f"{did_you_mean(strangers[0], names)}"
            )

    def __bool__(self):
        return self._numbers is not None

    def rows(self, X):
        """Return the images, each with its domain."""
        return RowsOfDomains(X, self._numbers) if self else X

    def candidates(self, estimators):
        """Return the candidates, told by their domains which labels they may see."""
        if not self:
            return estimators
        digest = joblib.hash(self._numbers)  # part of what tells kept fits apart
        return {
            name: AcrossDomains(estimator, self._task, name in self._target_only, digest)
            for name, estimator in estimators.items()
        }

    def splits(self, X, y, *, groups, left_out=(), **drawing):
        """Make the splits; across domains, folds of the target alone, with all of the source in every training part.

        Images of the source that belong to a group of the test part are left out there.
        """
        if not self:
            return make_splits(X, y, groups=groups, left_out=left_out, **drawing)
        source = np.flatnonzero(self._numbers > 0)
        drawn = make_splits(X, y, groups=groups, left_out=np.union1d(source, left_out).astype(np.intp), **drawing)
        source = np.setdiff1d(source, left_out)
        numbers = np.arange(len(y)) if groups is None else np.unique(column_or_1d(groups), return_inverse=True)[1]
        return [
            (np.concatenate([source[~np.isin(numbers[source], numbers[test])], train]), test) for train, test in drawn
        ]

    @property
    def settings(self):
        """Return what the record of a comparison says of them."""
        if not self:
            return {}
        n_source = int(np.sum(self._numbers > 0))
        sizes = {"n_source": n_source, "n_target": len(self._numbers) - n_source}
        return {"domains": {**sizes, "target_only": list(self._target_only)}}


def _checked(sample_domain, y):
    numbers = column_or_1d(sample_domain)
    check_consistent_length(y, numbers)
    is_right = numbers.dtype.kind in "iu" and (numbers > 0).any() and (numbers < 0).any() and (numbers != 0).all()
    if not is_right:
        found = ", ".join(map(str, np.unique(numbers)[:5].tolist()))
        raise ValueError(
            "sample_domain must hold whole numbers, positive ones for images of the source and negative ones for those "
            f"of the target. Got {found} instead. Write numpy.where(is_source, 1, -2), say."
        )
    return numbers


class RowsOfDomains:
    """Images with the number of the domain of each; rows are selected as from an array."""

    def __init__(self, images, sample_domain):
        self.images, self.sample_domain = images, sample_domain

    def __len__(self):
        return len(self.sample_domain)

    @property
    def shape(self):
        """(n_images,), by which it is known that rows can be selected."""
        return (len(self),)

    def __getitem__(self, i):
        if np.ndim(i) == 0:
            one = take_rows(self.images, [i])
            return one.iloc[0] if hasattr(one, "iloc") else one[0]
        return RowsOfDomains(take_rows(self.images, i), self.sample_domain[i])


def _has(name):
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), name)


class AcrossDomains(BaseEstimator):
    """A candidate, fitted on what it may see of rows of two domains.

    One that asks for `sample_domain` gets all images, and in place of labels of the target the mark of a label that is
    not known; any other one gets the images of the source alone, or with `target_only` those of the target.
    """

    def __init__(self, estimator, task, target_only=False, domains=None):
        self.estimator = estimator
        self.task = task
        self.target_only = target_only
        self.domains = domains

    def fit(self, X, y):
        """Fit the candidate."""
        is_source = X.sample_domain > 0
        rows = np.flatnonzero(~is_source if self.target_only else is_source)
        if self.task == "classification":
            self.classes_, codes = np.unique(y[rows], return_inverse=True)
        self.estimator_ = clone(self.estimator)
        self._is_told = not self.target_only and _consumes(self.estimator_, "fit")
        if not self._is_told:
            self.estimator_.fit(take_rows(X.images, rows), y[rows])
            return self
        hidden, seen = (HIDDEN, codes) if self.task == "classification" else (np.nan, y[rows])
        known = np.full(len(y), hidden)
        known[rows] = seen
        with config_context(enable_metadata_routing=True):
            self.estimator_.fit(X.images, known, sample_domain=X.sample_domain)
        return self

    def predict(self, X):
        """Predict labels, in the words of `y`."""
        found = self._respond("predict", X)
        if not self._is_told or self.task == "regression":
            return found
        codes = np.asarray(found).astype(int)
        if (codes < 0).any():
            raise ValueError(
                f"a candidate that takes sample_domain must leave out images with the label {HIDDEN}, which is not "
                "known. Got predictions of it instead: build the candidate with make_da_pipeline of skada."
            )
        return self.classes_[codes]

    @available_if(_has("predict_proba"))
    def predict_proba(self, X):
        """Return the probabilities of `classes_`."""
        return self._respond("predict_proba", X)

    @available_if(_has("decision_function"))
    def decision_function(self, X):
        """Return the scores of `classes_`."""
        return self._respond("decision_function", X)

    def _respond(self, name, X):
        check_is_fitted(self)
        told = {"sample_domain": X.sample_domain} if self._is_told and _consumes(self.estimator_, name) else {}
        with config_context(enable_metadata_routing=True) if told else config_context():
            return getattr(self.estimator_, name)(X.images, **told)

    def __sklearn_tags__(self):
        """Say what the task is: a pipeline of skada does not."""
        tags = get_tags(self.estimator)
        tags.estimator_type = "classifier" if self.task == "classification" else "regressor"
        return tags


def _consumes(estimator, method):
    """Whether a method asks for `sample_domain`, by scikit-learn's metadata routing."""
    with config_context(enable_metadata_routing=True):
        return bool(get_routing_for_object(estimator).consumes(method, ["sample_domain"]))
