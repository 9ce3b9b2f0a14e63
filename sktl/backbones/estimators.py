"""Estimators that hold a network: their parameter `backbone`, and how a fitted one is a backbone itself."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from contextlib import suppress
from copy import deepcopy
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktl._pages import PageMixin
from sktl.backbones._backbone import make_backbone
from sktl.stages.chain import Chain

__all__ = ["NetworkEstimator", "architecture_of", "gives_backbone", "record_of_fitted", "trained_record"]


class NetworkEstimator(PageMixin, BaseEstimator, metaclass=ABCMeta):
    """Abstract: an estimator with the parameter `backbone`, which may be another estimator, a fitted one.

    scikit-learn's clone would forget the training of an estimator among the parameters; this one keeps it as it is.
    """

    _not_opened: tuple[str, ...] = ("backbone",)  # parameters that may have parameters, which are none of this one's

    def _store(self, parameters):
        """Keep the `locals()` of a constructor, which are its parameters, each under its own name."""
        vars(self).update({name: value for name, value in parameters.items() if name != "self"})

    @abstractmethod
    def __sktl_backbone__(self):
        """Return the stages of the fitted network as a Backbone, which others may take as theirs."""

    def get_params(self, deep: bool = True) -> Any:
        """Return the parameters by name, as everywhere in scikit-learn; `backbone` is taken as it is.

        Parameters
        ----------
        deep : bool, default=True
            Whether to go into parameters that are estimators.

        Returns
        -------
        dict of str to object
        """
        own = super().get_params(deep=False)
        parts = {name: value for name, value in own.items() if name not in self._not_opened}
        parts = {name: value for name, value in parts.items() if hasattr(value, "get_params")}
        inner = {f"{name}__{key}": value for name, part in parts.items() for key, value in part.get_params().items()}
        return {**own, **inner} if deep else own

    def _without(self, *names):
        """Return a shallow copy without some of its parameters."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), **dict.fromkeys(names))
        return other

    def __sklearn_clone__(self):
        if not gives_backbone(self.backbone):
            return super().__sklearn_clone__()
        cloned = super(NetworkEstimator, self._without("backbone")).__sklearn_clone__()
        cloned.backbone = self.backbone
        return cloned

    def __getstate__(self):
        """Pickle the record of a fitted estimator in its place: for one that was read from a file, a reference."""
        state = dict(super().__getstate__())
        if gives_backbone(state.get("backbone")):
            with suppress(NotFittedError):
                state["backbone"] = record_of_fitted(state["backbone"])
        return state


def gives_backbone(value):
    """Whether this is an estimator that, once it is fitted, is a backbone."""
    return not isinstance(value, type) and hasattr(_with_network(value), "__sktl_backbone__")


def _with_network(value):
    return value.steps[0][1] if isinstance(value, Pipeline) and value.steps else value


def record_of_fitted(estimator):
    """Return the Backbone of a fitted estimator: the stages that it has, trained or not."""
    part = _with_network(estimator)
    try:
        check_is_fitted(part)
    except NotFittedError:
        raise NotFittedError(
            f"backbone must be fitted when it is an estimator. Got a {type(part).__name__} that is not instead: fit it "
            "first. Where it was fitted, clone() has forgotten that, as a search does with estimators in its grid: "
            "write backbone=load_backbone(estimator) there."
        ) from None
    return part.__sktl_backbone__()


def architecture_of(estimator):
    """Return what an estimator was told to take as its network, whatever the weights."""
    return _with_network(estimator).backbone


def trained_record(backbone, network, by, reload):
    """Make the record of the stages of a trained network; `backbone` is where the training started."""
    from_random = backbone.weights is None
    start = backbone.weights or "random weights"
    known = f"{backbone.source}, then " if not from_random else ""
    return make_backbone(
        backbone.name,
        Chain(deepcopy(network.stages).cpu(), None, backbone.family, backbone.own_pooling),
        preprocessing=network.preprocessing,
        n_features=backbone.n_features,
        categories=None,
        weights=f"{start}, trained by {by}",
        source=f"{known}what {by} was fitted on",
        license="unknown" if from_random else backbone.license,
        configuration=backbone.configuration,
        reload=reload,
    )
