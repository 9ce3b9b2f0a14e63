"""The only file that touches scikit-learn's private and newest names, and the wording of "did you mean"."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_feature_names as check_feature_names
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _check_y as check_y

if TYPE_CHECKING:  # scikit-learn has no types, and what a decorator without types decorates has none
    _Function = TypeVar("_Function", bound=Callable[..., Any])

    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Function], _Function]:
        """Return a decorator that keeps the signature."""
        ...

    def validate_params(
        parameter_constraints: Mapping[str, Any], *, prefer_skip_nested_validation: bool
    ) -> Callable[[_Function], _Function]:
        """Return a decorator that keeps the signature."""
        ...
else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import validate_params

__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "callback_support",
    "check_feature_names",
    "check_feature_names_in",
    "check_sample_weight",
    "check_y",
    "did_you_mean",
    "fit_context",
    "validate_parameter_constraints",
    "validate_parameters",
    "validate_params",
]


def callback_support():
    """Return scikit-learn's mixin for estimators that take its callbacks, and before 1.9 an empty class."""
    try:
        return import_module("sklearn.callback").CallbackSupportMixin
    except ImportError:
        return type("NoCallbackSupport", (), {})


def validate_parameters(estimator):
    """Check the parameters of an estimator against its constraints, as its `fit` does."""
    estimator._validate_params()


def did_you_mean(name, options):
    """Return " Did you mean 'x'?" when one of the options is close to the name, else the empty string."""
    close = get_close_matches(str(name), [str(option) for option in options], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
