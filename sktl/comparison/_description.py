"""A parameter as text: equal ones have equal texts in every process, others have others."""

import copyreg
import random
import re
import sys
import sysconfig
from hashlib import sha256
from pathlib import Path
from types import CodeType, EllipsisType, ModuleType, NoneType
from uuid import uuid4

import joblib
import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator

from sktl.backbones import Backbone, load_backbone, tensor_digest
from sktl.inference import resolve_placement

__all__ = ["described"]

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
LONGEST = 2000  # characters; longer texts are replaced by their digest
PLAIN = (bool, int, float, complex, str, bytes, range, NoneType, EllipsisType)
INSTALLED = ("site-packages", "dist-packages")
DRAWS: tuple = (np.random.rand, random.random)
# Generators that everything in a process draws from: wherever they stand, the seed of a fit decides.
DRAWN_FROM = (*(draw.__self__ for draw in DRAWS), torch.default_generator)
# What a clone keeps besides the parameters.
KEPT_BY_CLONE = ("_metadata_request", "_sklearn_output_config")
# What counts and times, or is made of other attributes, by package: it changes and predictions do not.
WITHOUT_EFFECT = {"sktl": {"store_info_", "bad_images_", "history_", "net_"}, "sklearn": {"_tree"}}


def described(value):
    """Describe a candidate or a scorer so that another one has another description.

    No address in memory, no order of a set and no place of source code is part of it.
    """
    try:
        return _Describer().describe(value, cloned=True)
    except RecursionError:  # dozens of objects inside each other: better done again than taken for another
        return f"too deep to be described: {uuid4()}"


class _Describer:
    """One walk through an object: each part is described once, what holds itself ends where it meets itself."""

    def __init__(self):
        self._open: dict = {}  # id → level
        self._known: dict = {}  # id → value and text; holding the value keeps its id from being given away

    def describe(self, value, cloned=False):
        """Describe a part; a cloned one loses what was fitted before the comparison uses it."""
        if type(value) in PLAIN or isinstance(value, (np.generic, np.dtype)):
            return repr(value)
        if id(value) in self._open:
            return f"<the object {len(self._open) - self._open[id(value)]} levels up>"
        if (id(value), cloned) not in self._known:
            self._open[id(value)] = len(self._open)
            text = self._described(value, cloned)
            del self._open[id(value)]
            text = text if len(text) <= LONGEST else sha256(text.encode(errors="surrogatepass")).hexdigest()
            self._known[id(value), cloned] = value, text
        return self._known[id(value), cloned][1]

    def _described(self, value, cloned):
        if any(value is one for one in DRAWN_FROM):
            return "the random numbers of the process"
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            return self._collection(value, cloned)
        if isinstance(value, (np.ndarray, torch.Tensor)) or issparse(value) or _package(type(value)) == "pandas":
            return self._numbers(value)
        if isinstance(value, Backbone):
            return f"{value.name} {value.digest} {value.preprocessing!r} {value.stage_names}"
        if isinstance(value, (type, CodeType, ModuleType)):
            return self._source(value)
        if hasattr(value, "state_dict") and hasattr(value, "modules"):
            return self._module(value)
        if hasattr(value, "get_params") and hasattr(value, "set_params"):  # torchvision's have but the former
            return self._estimator(value, cloned)
        if hasattr(value, "__code__") or hasattr(value, "__func__"):
            return self._function(value)
        return f"{self.describe(type(value))} {self.describe(_pickled(value))}"

    def _collection(self, value, cloned):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.describe(key)}: {self.describe(item)}" for key, item in value.items()) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(self.describe(item, cloned) for item in value) + "]"
        return "{" + ", ".join(sorted(map(self.describe, value))) + "}"

    def _numbers(self, value):
        if isinstance(value, torch.Tensor):
            whole = value.detach().cpu().to_dense().resolve_conj().resolve_neg().contiguous()
            content = sha256(whole.reshape(-1).view(torch.uint8).numpy()).hexdigest()
            return f"tensor {value.dtype} {tuple(value.shape)} {content}"
        if issparse(value):  # without the marks that computing leaves on one
            entries = value.tocoo()
            return f"{value.format} {value.shape} {self.describe([entries.row, entries.col, entries.data])}"
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            return f"array {value.shape} {self.describe(value.tolist())}"
        return joblib.hash(value)

    def _estimator(self, estimator, cloned):
        parameters = dict(estimator.get_params(deep=False))
        attributes = dict(getattr(estimator, "__dict__", {}))
        # FrozenEstimator and its like are passed on as they are; in a dictionary, a function or an object all are.
        own_way = getattr(type(estimator), "__sklearn_clone__", BaseEstimator.__sklearn_clone__)
        cloned = cloned and own_way is BaseEstimator.__sklearn_clone__
        kept = list(KEPT_BY_CLONE) if cloned else _state(estimator, attributes.keys() - parameters.keys())
        if "net_" in attributes and "net_" not in kept:  # of which predictions need the network only
            attributes["module_"] = estimator.module_
            kept = [*kept, "module_"]
        weights = ""
        if {"backbone", "weights"} <= parameters.keys():
            if isinstance(parameters.get("device"), str) and parameters["device"] == "auto":
                parameters["device"] = resolve_placement().device.type
            if parameters["weights"] is not None:
                weights = f" with {_digest_of_weights(parameters['backbone'], parameters['weights'])}"
        texts = [f"{name}={self.describe(item, cloned)}" for name, item in parameters.items()]
        texts += [f"{name}: {self.describe(attributes[name])}" for name in kept if name in attributes]
        return f"{self.describe(type(estimator))}({', '.join(texts)}){weights}"

    def _module(self, module):
        """Structure, weights, hooks, and whatever else its parts hold."""
        parts = []
        for part in module.modules():
            own = {key: item for key, item in vars(part).items() if key not in ("_parameters", "_modules")}
            # handles of hooks are numbered through in each process
            own = {key: list(item.values()) if key.endswith("_hooks") else item for key, item in own.items()}
            parts.append([type(part), own])
        weights = tensor_digest("module", module=module)
        return f"{_name(type(module))} {ADDRESS.sub('', repr(module))} {weights} {self.describe(parts)}"

    def _function(self, function):
        """Name, code, defaults, and what it encloses; the object as well that a method belongs to."""
        owner = getattr(function, "__self__", None)
        function = getattr(function, "__func__", function)
        enclosed = [_content_of_cell(cell) for cell in function.__closure__ or ()]
        defaults = [function.__defaults__, function.__kwdefaults__]
        parts = [function.__code__, *defaults, enclosed, owner, getattr(function, "__dict__", {})]
        return f"{_name(function)} {self.describe(parts)}"

    def _source(self, value):
        if isinstance(value, ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, CodeType):  # not its file and line, which a notebook counts up
            jumps = getattr(value, "co_exceptiontable", b"")
            names = [value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars]
            counts = [value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags]
            return f"code {self.describe([value.co_code, jumps, value.co_consts, names, counts])}"
        own = [kind for kind in value.__mro__ if not _is_installed(kind)]
        return " ".join([_name(value), *(self.describe(_defined_in(kind)) for kind in own)])


def _defined_in(kind):
    """Methods and constants of a class; other attributes may be counters and caches."""
    found = {}
    for name, item in sorted(vars(kind).items()):
        if isinstance(item, property):
            found[name] = [item.fget, item.fset, item.fdel]
        elif name not in ("__dict__", "__weakref__") and (callable(item) or hasattr(item, "__get__")):
            found[name] = getattr(item, "__func__", item)
        elif not name.startswith("__") and isinstance(item, (*PLAIN, tuple)):
            found[name] = item
    return found


def _is_installed(kind):
    """Whether the version of a package, or of Python, stands for the code of a class."""
    package = _package(kind)
    if package == "sktl" or (package in sys.stdlib_module_names and package != "__main__"):
        return True
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None or package == "__main__":
        return False
    libraries = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return any(part in INSTALLED for part in Path(file).parts) or any(map(Path(file).is_relative_to, libraries))


def _state(estimator, names):
    without = [WITHOUT_EFFECT.get(_package(kind), set()) for kind in type(estimator).__mro__]
    return sorted(names - set().union(*without))


def _pickled(value):
    """Take what pickle would keep of an object; its attributes where pickle does not take it."""
    attributes = getattr(value, "__dict__", {})
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        parts = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception:  # whatever the author of the class thought of
        text = repr(value)
        return [attributes, None if ADDRESS.search(text) else text]
    if isinstance(parts, str):  # the name of something that is imported
        return [parts, attributes]
    return [list(part) if hasattr(part, "__next__") else part for part in parts]


def _digest_of_weights(backbone, weights):
    # the same name may stand for other weights tomorrow
    try:
        return load_backbone(backbone, weights).digest
    except (ValueError, TypeError, OSError) as error:  # the fit will say so
        return f"none: {error}"


def _content_of_cell(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return "empty"


def _package(kind):
    return str(kind.__module__).partition(".")[0]


def _name(value):
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
