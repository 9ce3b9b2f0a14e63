"""FineTunedFeatures: what a network trained on some images says of others, for the learner that comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.utils import check_random_state, indexable
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sktl._pages import PageMixin
from sktl._splits import make_splits
from sktl._targets import plain_labels
from sktl._validation import HasMethods, StrOptions, check_feature_names_in, fit_context
from sktl.backbones.torch_defaults import torch_defaults
from sktl.fine_tuning._estimator import FineTuneEstimator
from sktl.images import read_once, take_rows
from sktl.inference import resolve_placement

if TYPE_CHECKING:
    from numpy.random import RandomState
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


# What a column is called, by the method that fills it.
_WORDS = {"decision_function": "decision", "predict_proba": "probability", "predict": "prediction"}
_PENULTIMATE = "penultimate"


class FineTunedFeatures(TransformerMixin, PageMixin, BaseEstimator):
    """Turn images into what a trained network says of them, out of fold for the images that it is trained on.

    A network knows the labels of the images that it is trained on. What it says of them is nearer to the labels than
    what it will say of new images, and the next learner trusts it too much. Therefore `fit_transform` takes each row
    through a network that was trained on the other folds, while `transform` uses the network of all rows, as with
    :class:`~sklearn.preprocessing.TargetEncoder`.

    .. note::
        ``fit(X, y).transform(X)`` is not ``fit_transform(X, y)``: the former gives training rows with their labels in
        them. Pipeline and ColumnTransformer call `fit_transform` while they are fitted, which is what is wanted.

    Parameters
    ----------
    estimator : classifier or regressor
        What is trained on images, usually a :class:`FineTuneClassifier` or :class:`FineTuneRegressor`. It is cloned.
        Networks, teachers and validation images inside of it must not have seen the labels of these rows.
    method : {"auto", "decision_function", "predict_proba", "predict", "penultimate"}, default="auto"
        What is taken: ``"auto"`` is the decision function of a classifier, one column for each class or a single one
        for two, and the predictions of a regressor.
        ``"penultimate"`` gives the pooled features of the trained stages, for which all trainings must start from the
        same pretrained weights; see the notes.
    cv : int, cross-validation generator or iterable, default=5
        Folds of `fit_transform`, which trains a network for each. An int makes shuffled folds, with the same shares of
        classes and with `groups` kept together. Splits of your own must test each row once.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds when `cv` is an int, and is the seed of each training where the estimator's own
        `random_state` is None. All networks of one fit have the same seed.

    Attributes
    ----------
    estimator_ : estimator
        The one trained on all rows, which `transform` uses.
    method_ : str
        What is taken: `method`, or what ``"auto"`` stands for.
    classes_ : ndarray of shape (n_classes,)
        The labels; only of classifiers.
    n_features_in_ : int
        Number of columns, when `X` is a table; not set for other images.
    feature_names_in_ : ndarray of str
        Column names, when `X` is a data frame.

    See Also
    --------
    PretrainedFeatureExtractor : Features of the network as it is, which know no labels and need no folds.
    sklearn.ensemble.StackingClassifier : Out-of-fold predictions of several estimators on the same `X`.

    Notes
    -----
    `fit_transform` trains ``cv + 1`` networks, `fit` one. Rows of training come from networks that have seen a share of
    ``1 - 1 / cv`` of the images; with few folds they are worse than those of new images, by which the learner trusts
    them too little.

    Decision values and probabilities mean the same in all networks. Features of trained stages do so as far as
    training has left them near to where all networks have started, which is why networks from scratch are refused.

    A class without an image in the training part of a fold has the probability 0 there, and the least decision value
    of each row.

    References
    ----------
    D. H. Wolpert (1992), "Stacked generalization", Neural Networks 5(2), :doi:`10.1016/S0893-6080(05)80023-1`.

    Examples
    --------
    >>> from sktl import FineTuneClassifier, FineTunedFeatures
    >>> from sktl.datasets import make_fractals
    >>> X, y = make_fractals(30, n_classes=3, random_state=0)
    >>> features = FineTunedFeatures(FineTuneClassifier(unfreeze_depth=0), cv=3, random_state=0)
    >>> features.fit_transform(X, y).shape
    (30, 3)
    >>> features.get_feature_names_out()
    array(['decision_0', 'decision_1', 'decision_2'], dtype=object)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "method": [StrOptions({"auto", *_WORDS, _PENULTIMATE})],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }
    __metadata_request__fit = {"groups": True}  # folds that pass over them give labels away

    def __init__(
        self,
        estimator: Any,
        *,
        method: Literal["auto", "decision_function", "predict_proba", "predict", "penultimate"] = "auto",
        cv: Any = 5,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, groups: ArrayLike | None = None
    ) -> Self:
        """Train a network on all rows, for new images.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            Whatever the estimator takes; a column of paths of a ColumnTransformer for instance.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Labels or numbers.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the rows, for an estimator that takes them.
        groups : array-like of shape (n_samples,) or None, default=None
            Rows of one group are never in two folds of `fit_transform`. Also for the estimator, if it takes them.

        Returns
        -------
        self : FineTunedFeatures
            The fitted transformer.

        Raises
        ------
        ValueError
            If the estimator does not have what `method` names.
        """
        self._fit(_Rows.of(X, y, sample_weight, groups), self._seed())
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def fit_transform(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, groups: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Train a network on all rows, and return features of each row from a network that was not trained on it.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            As for `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            As for `fit`.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            As for `fit`.
        groups : array-like of shape (n_samples,) or None, default=None
            As for `fit`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            Out of fold: ``fit(X, y).transform(X)`` gives others.

        Raises
        ------
        ValueError
            If the splits of `cv` do not test each row once, or `fit` raises.
        """
        rows, seed = _Rows.of(X, y, sample_weight, groups), self._seed()
        folds = self._folds(rows, seed)  # what cannot be split is found out before a network is trained
        self._fit(rows, seed)
        parts = [self._of(self._trained(rows.subset(train), seed), take_rows(rows.X, test)) for train, test in folds]
        return np.concatenate(parts)[np.argsort(np.concatenate([test for _, test in folds]))]

    def transform(self, X: Any) -> NDArray[Any]:
        """Return features of images that the network was not trained on.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            New images, of any kind that the estimator predicts.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            What the network of all rows says.
        """
        check_is_fitted(self)
        return self._of(self.estimator_, X)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Name the features by class, target, or stage and number.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            The names of the columns of `X`, which say nothing about the features: only checked, when `X` had columns.

        Returns
        -------
        feature_names_out : ndarray of str objects of shape (n_features_out,)
            For instance ``decision_bees``.

        Raises
        ------
        ValueError
            If `input_features` are others than those seen in `fit`.
        """
        check_is_fitted(self)
        check_feature_names_in(self, input_features, generate_names=False)
        return self._names

    @property
    def classes_(self) -> Any:
        """The labels."""
        return self.estimator_.classes_

    @property
    def n_features_in_(self) -> Any:
        """Number of columns of a table."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """Column names of a data frame."""
        return self.estimator_.feature_names_in_

    # one network, and one for each fold

    def _seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _fit(self, rows, seed):
        """Train the network of all rows, and name its features."""
        self.method_ = self._chosen_method()
        self.estimator_ = self._trained(rows, seed)
        self._names = np.array(self._names_of_features(rows.y), dtype=object)

    def _chosen_method(self):
        methods = ["decision_function", "predict_proba"] if is_classifier(self.estimator) else ["predict"]
        methods = [method for method in methods if hasattr(self.estimator, method)]
        if self.method == "auto" and methods:
            return methods[0]
        if isinstance(self.estimator, FineTuneEstimator) and self.estimator.weights is not None:
            methods.append(_PENULTIMATE)
        if self.method not in methods:
            raise ValueError(
                f"method must be {' or '.join(map(repr, methods))} for this {type(self.estimator).__name__}. Got "
                f"{self.method!r} instead. Penultimate features are to be had of a FineTuneClassifier or "
                "FineTuneRegressor with pretrained weights: networks from scratch have no features in common."
            )
        return self.method

    def _folds(self, rows, seed):
        """Return positions (train, test) of folds in which each row is tested once."""
        stratified = is_classifier(self.estimator) and type_of_target(rows.y) in ("binary", "multiclass")
        task = "classification" if stratified else "regression"
        n_rows = rows.y.shape[0]
        y = np.asarray(rows.y) if stratified else np.zeros(n_rows)
        folds = make_splits(rows.X, y, cv=self.cv, n_repeats=1, groups=rows.groups, task=task, random_state=seed)
        tested = np.bincount(np.concatenate([test for _, test in folds]), minlength=n_rows)
        if (tested != 1).any():
            row = np.flatnonzero(tested != 1)[0]
            raise ValueError(
                f"cv must test each row once. Got splits that test row {row} {tested[row]} times instead. Pass an int, "
                "or a splitter such as KFold or GroupKFold."
            )
        return folds

    def _trained(self, rows, seed):
        """Train a clone of the estimator on some rows."""
        estimator = clone(self.estimator)
        parameters = estimator.get_params()
        unset = [name for name in parameters if name.rpartition("__")[2] == "random_state" and parameters[name] is None]
        estimator.set_params(**dict.fromkeys(unset, seed))
        passed = {"sample_weight": rows.sample_weight, "groups": rows.groups}
        if not has_fit_parameter(estimator, "groups"):
            del passed["groups"]
        return estimator.fit(rows.X, rows.y, **{name: part for name, part in passed.items() if part is not None})

    def _of(self, estimator, X):
        """Return what a network says of images, in the columns of the network of all rows."""
        if self.method_ == _PENULTIMATE:
            return _penultimate(estimator, X)
        outputs = _each(getattr(estimator, self.method_)(X))
        if not is_classifier(estimator):
            return np.hstack([np.reshape(output, (len(output), -1)) for output in outputs])
        classes = zip(_each(estimator.classes_), _each(self.classes_), strict=True)
        least = 0.0 if self.method_ == "predict_proba" else None
        return np.hstack([_of_all(*pair, output, least) for pair, output in zip(classes, outputs, strict=True)])

    def _names_of_features(self, y):
        if self.method_ == _PENULTIMATE:
            stage, width = self.estimator_.backbone_.stage_names[-1], self.estimator_.backbone_.n_features
            return [f"{stage}_{i:0{len(str(width - 1))}d}" for i in range(width)]
        word, n_targets = _WORDS[self.method_], int(np.prod(y.shape[1:]))
        if not is_classifier(self.estimator):
            return [word] if y.ndim == 1 else [f"{word}_{target}" for target in range(n_targets)]
        several = isinstance(self.classes_, list)
        names = []
        for target, classes in enumerate(_each(self.classes_)):
            one = self.method_ == "decision_function" and len(classes) == 2 and (several or n_targets == 1)
            names += [f"{word}_{target}_{label}" if several else f"{word}_{label}" for label in classes[int(one) :]]
        return names

    def __sklearn_tags__(self):
        """Say that labels are needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags


class _Rows(NamedTuple):
    """Images, and what is known of each."""

    X: Any
    y: Any
    sample_weight: Any
    groups: Any

    @classmethod
    def of(cls, *parts):
        """Take what was passed to `fit`."""
        X, y, *others = indexable(*parts)
        if y is None:
            raise ValueError("FineTunedFeatures requires y to be passed, but the target y is None.")
        y = plain_labels(y)
        return cls(read_once(X), y if hasattr(y, "shape") else np.asarray(y), *others)

    def subset(self, positions):
        """Return some of the rows."""
        return _Rows(*(None if part is None else take_rows(part, positions) for part in self))


def _each(value):
    """Return a list, with an entry for each target where there are several."""
    return value if isinstance(value, list) else [value]


def _of_all(known, classes, outputs, least):
    """Return outputs for some of the classes in one column for each of all; the others have the least of the row."""
    outputs = outputs.reshape(len(outputs), -1)
    if len(known) == len(classes):
        return outputs
    if outputs.shape[1] == 1:  # the difference of two decision values
        outputs = outputs * [-0.5, 0.5]
    filled = np.empty((len(outputs), len(classes)))
    filled[:] = outputs.min(axis=1, keepdims=True) if least is None else least
    filled[:, np.isin(classes, known)] = outputs
    return filled


@torch_defaults()
def _penultimate(estimator, X):
    """Return the pooled features of the trained stages."""
    placement = resolve_placement(estimator.device, estimator.precision)
    frozen_part = estimator._frozen_part(estimator.module_.to(placement.device), placement)
    return frozen_part.features(estimator._images(X)).double().cpu().numpy()
