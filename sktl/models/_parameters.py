"""The parameters of an estimator in a record: those that differ from the defaults and can be written."""

import json

from sktl._validation import validate_parameters
from sktl.models._record import NOT_WRITTEN
from sktl.models._values import read, written

__all__ = ["make_estimator", "written_parameters"]


def written_parameters(estimator):
    """Write down the parameters of an estimator, without those of the session and those that cannot be written."""
    defaults = type(estimator)().get_params(deep=False)
    parameters = {}
    for name, value in estimator.get_params(deep=False).items():
        if name in NOT_WRITTEN:
            continue
        try:
            text = written(value)
        except TypeError:
            continue  # needed to train again, if at all: what predictions need is refused elsewhere
        if json.dumps(text) != json.dumps(written(defaults[name])):
            parameters[name] = text
    return parameters


def make_estimator(kind, parameters, **session):
    """Make an estimator with parameters that were written down, each of them checked."""
    unknown = parameters.keys() - kind().get_params(deep=False).keys()
    if unknown:
        raise ValueError(f"the parameters must be those of {kind.__name__} in this version. Got {min(unknown)!r} too.")
    estimator = kind(**{name: read(value) for name, value in parameters.items()}, **session)
    validate_parameters(estimator)
    return estimator
