"""What a score depends on, as digests: the candidate, the images by their content, and the versions of packages.

A candidate is what joblib's hash makes of its class and parameters, with the digest of the weights behind their names.
"""

import os
import platform
import random
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import PicklingError
from types import CodeType, FunctionType, MethodType, ModuleType

import joblib
import numpy as np
import torch
from joblib.hashing import NumpyHasher
from sklearn.frozen import FrozenEstimator

from sktl.backbones import Backbone, load_backbone
from sktl.exceptions import ImageReadError
from sktl.images import as_images
from sktl.inference import resolve_placement

__all__ = ["digest_of", "digest_of_images", "versions"]

PACKAGES = ("sktl", "scikit-learn", "torch", "torchvision", "numpy", "scipy", "pillow", "skorch")
# Generators that everything in a process draws from: wherever they stand, the seed of a fit decides.
GLOBAL_DRAWS: tuple = (np.random.rand, random.random)
GLOBAL_GENERATORS = tuple(draw.__self__ for draw in GLOBAL_DRAWS)
# What is passed on as it is, fitted estimators inside included, where scikit-learn clones a candidate.
NOT_CLONED = (FrozenEstimator, MethodType, FunctionType, dict)
# What says which function it is; not its file and line, which a notebook counts up.
CODE = (
    *("co_code", "co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_exceptiontable"),
    *("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags"),
)
CONSTANT = (FunctionType, bool, int, float, str, tuple)
KEPT_BY_CLONE = ("_metadata_request", "_sklearn_output_config")
# What fitted networks keep besides what they predict with.
WITHOUT_EFFECT = ("store_info_", "bad_images_", "net_")


def versions():
    """Find the versions of Python and of the packages that a score depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found


def digest_of(value):
    """Identify a candidate or a scorer, alike in every process; raise TypeError where that cannot be done."""
    try:
        return _Hasher("sha1").hash(value)
    except Exception as error:  # whatever the author of a class thought of
        raise TypeError(f"{type(error).__name__}: {error.args[0] if error.args else error}") from error


class _Hasher(NumpyHasher):
    """joblib's hash, with stand-ins for what it does not take, and for what it takes for another next time."""

    def __init__(self, hash_name):
        super().__init__(hash_name)
        self._cloned = True
        self._known: dict = {}  # id → function or class, whose code is hashed once

    def save(self, value):
        """Hash a part of the whole."""
        cloned = self._cloned
        self._cloned = cloned and not isinstance(value, NOT_CLONED)
        try:
            super().save(self._stand_in(value))
        except TypeError as error:  # which joblib would take for keys of a dictionary that cannot be sorted
            raise PicklingError(str(error)) from error
        self._cloned = cloned

    def _stand_in(self, value):
        if any(value is one for one in GLOBAL_GENERATORS):
            return "the random numbers of the process"
        if isinstance(value, (set, frozenset)):
            return type(value), sorted(map(digest_of, value))
        if isinstance(value, torch.Tensor):
            whole = value.detach().cpu().contiguous()
            return "tensor", str(whole.dtype), tuple(whole.shape), whole.reshape(-1).view(torch.uint8).numpy()
        if isinstance(value, Backbone):
            return value.name, value.digest, repr(value.preprocessing), value.stage_names
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, CodeType):
            return [getattr(value, name, None) for name in CODE]
        if isinstance(value, (type, FunctionType)) and not _is_importable(value):
            return self._source(value)
        if hasattr(value, "get_params") and hasattr(value, "set_params") and not isinstance(value, type):
            return self._estimator(value)
        return value

    def _estimator(self, estimator):
        """Class, parameters, and what a clone keeps; all attributes where no clone is made."""
        parameters, attributes = estimator.get_params(deep=False), vars(estimator)
        kept = KEPT_BY_CLONE if self._cloned else sorted(attributes.keys() - parameters.keys() - {*WITHOUT_EFFECT})
        parts = [type(estimator), *sorted(parameters.items()), *((name, attributes.get(name)) for name in kept)]
        if not self._cloned and "net_" in attributes:  # of which predictions need the network only
            parts.append(estimator.module_)
        if {"backbone", "weights"} <= parameters.keys():
            parts += [_digest_of_weights(parameters), _device(parameters)]
        return parts

    def _source(self, value):
        """Return the code of what a script, a notebook or a function defines: one name may stand for several."""
        if id(value) in self._known:
            return value.__qualname__
        self._known[id(value)] = value
        if isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            return [value.__qualname__, value.__code__, value.__defaults__, value.__kwdefaults__, cells]
        inside = {name: _function_in(item) for name, item in sorted(vars(value).items())}
        kinds = {name: FunctionType if name.startswith("__") else CONSTANT for name in inside}
        code = [(name, item) for name, item in inside.items() if isinstance(item, kinds[name])]
        return [value.__qualname__, *value.__bases__, *code]


def _is_importable(value):
    found = None if value.__module__ == "__main__" else sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value or value.__module__ == "builtins"


def _function_in(item):
    """Return the function behind a method of any kind, or behind a property."""
    return next((getattr(item, name) for name in ("__func__", "fget", "func") if hasattr(item, name)), item)


def _digest_of_weights(parameters):
    """Return the digest of the weights: tomorrow the same name may stand for others."""
    if parameters["weights"] is None:
        return None
    try:
        return load_backbone(parameters["backbone"], parameters["weights"]).digest
    except (ValueError, TypeError, OSError) as error:  # the fit will say so
        return f"none: {error}"


def _device(parameters):
    device = parameters.get("device")
    return resolve_placement().device.type if isinstance(device, str) and device == "auto" else None


def digest_of_images(X):
    """Identify all images of X by their content: files by their bytes."""
    try:
        images = as_images(X)
    except (TypeError, ValueError):
        images = None
    digest = sha256()
    if images is None:  # rows of numbers, or what only the user's own estimators understand
        digest.update(joblib.hash(X).encode())
        for path in _files_in(X):
            digest.update(_content_of(path))
        return digest.hexdigest()
    for position in range(len(images)):
        try:
            digest.update(images.digest(position))
        except ImageReadError as error:
            digest.update(str(error).encode())
    return digest.hexdigest()


def _files_in(part):
    """Cells of a table, or of rows in lists and dictionaries, that name a file."""
    if isinstance(part, (str, os.PathLike)):
        if os.path.isfile(part):
            yield part
        return
    if isinstance(part, Mapping):
        inside = part.values()
    elif hasattr(part, "columns") and (hasattr(part, "iloc") or hasattr(part, "get_column")):
        inside = (part[name] if hasattr(part, "get_column") else part.iloc[:, name] for name in _columns_of(part))
    elif hasattr(part, "to_list") and hasattr(part, "dtype"):  # a Series
        inside = part.to_list() if getattr(part.dtype, "kind", "O") == "O" else ()
    elif isinstance(part, np.ndarray):
        inside = part.ravel().tolist() if part.dtype.kind in "OUT" else ()
    elif isinstance(part, (list, tuple)):
        inside = part
    else:
        return
    for one in inside:
        yield from _files_in(one)


def _columns_of(frame):
    return frame.columns if hasattr(frame, "get_column") else range(frame.shape[1])


def _content_of(path):
    try:
        return sha256(Path(os.fsdecode(path)).read_bytes()).digest()
    except OSError as error:  # the fit will say so
        return type(error).__name__.encode()
