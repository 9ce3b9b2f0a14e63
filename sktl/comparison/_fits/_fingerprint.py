"""What a score depends on, as text: images, parameters, weights, versions. Equal texts promise equal scores."""

import platform
import re
from functools import partial as partial_of
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

import joblib
import numpy as np

from sktl.backbones import Backbone, load_backbone, tensor_digest
from sktl.exceptions import ImageReadError
from sktl.images import as_images

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
DEEPEST = 12  # levels of objects inside each other

__all__ = ["described", "digest_of_images", "versions"]


def versions():
    """Find the versions of Python and of the packages that a score depends on.

    Returns
    -------
    dict of str to str
        By name.
    """
    found = {"python": platform.python_version()}
    for package in ("sktl", "scikit-learn", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found


def digest_of_images(X):
    """Identify all images of X by their content: files by their bytes.

    Parameters
    ----------
    X : sequence
        Whatever the candidates take.

    Returns
    -------
    str
        A digest.
    """
    try:
        images = as_images(X)
    except (TypeError, ValueError):
        images = None
    if images is None:  # rows of numbers, or what only the user's own estimators understand
        return joblib.hash(X)
    digest = sha256()
    for position in range(len(images)):
        try:
            digest.update(images.digest(position))
        except ImageReadError as error:
            digest.update(str(error).encode())
    return digest.hexdigest()


def described(value, depth=0):
    """Describe a parameter so that another one has another description; no address in memory is part of it.

    Parameters
    ----------
    value : object
        An estimator with all that is in it, a network, an array, a function, or anything else.
    depth : int, default=0
        How deep inside others it was found; what refers to itself ends somewhere.

    Returns
    -------
    str
        Weights and arrays by their digest, functions by their code and what they enclose, objects by their attributes,
        everything else as Python writes it.
    """
    if depth > DEEPEST:
        return _name(type(value))
    inside = partial_of(described, depth=depth + 1)
    if isinstance(value, Backbone):
        return f"{value.name} {value.digest} {value.preprocessing!r} {value.stage_names}"
    if isinstance(value, np.ndarray):
        return joblib.hash(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {inside(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(inside, value)) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(inside, value))) + "}"
    if isinstance(value, type):
        return _name(value)
    if hasattr(value, "state_dict") and hasattr(value, "modules"):
        return _described_module(value, inside)
    if hasattr(value, "get_params") and hasattr(value, "set_params"):  # transforms of torchvision have but the former
        return _described_estimator(value, inside)
    if hasattr(value, "__code__") or hasattr(value, "__func__"):
        return _described_function(value, inside)
    if ADDRESS.search(text := repr(value)) or hasattr(value, "_score_func"):  # a scorer's name says too little
        return f"{_name(type(value))} {inside(_contents(value))}"
    return text


def _described_estimator(estimator, inside):
    parameters = estimator.get_params(deep=False)
    text = f"{_name(type(estimator))}({inside(parameters)})"
    if {"backbone", "weights"} <= parameters.keys() and parameters["weights"] is not None:
        text += f" with {_digest_of_weights(parameters['backbone'], parameters['weights'])}"
    return text


def _digest_of_weights(backbone, weights):
    # the same name may stand for other weights tomorrow
    try:
        return load_backbone(backbone, weights).digest
    except (ValueError, TypeError, OSError) as error:  # the fit will say so
        return f"none: {error}"


def _described_module(module, inside):
    """Structure, weights, and the numbers and words that are neither."""
    plain = [
        {key: item for key, item in vars(part).items() if isinstance(item, (bool, int, float, str, tuple, type(None)))}
        for part in module.modules()
    ]
    weights = tensor_digest("module", module=module)
    return f"{_name(type(module))} {ADDRESS.sub('', repr(module))} {weights} {inside(plain)}"


def _described_function(function, inside):
    """Name, code, defaults, and what it encloses; the object as well that a method belongs to."""
    owner = inside(getattr(function, "__self__", None))
    function = getattr(function, "__func__", function)
    code = function.__code__
    enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
    constants = ADDRESS.sub("", repr(code.co_consts)).encode()
    parts = inside([function.__defaults__, function.__kwdefaults__, enclosed])
    return f"{_name(function)} {sha256(code.co_code + constants).hexdigest()} {code.co_names} {owner} {parts}"


def _contents(value):
    if isinstance(value, partial_of):
        return [value.func, value.args, value.keywords]
    return dict(getattr(value, "__dict__", {}))


def _name(value):
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
