"""A call of compare_transfer as Python, written down while its arguments are at hand."""

import os
from collections.abc import Mapping
from inspect import Parameter, signature

import numpy as np

from sktl.backbones.estimators import gives_backbone

__all__ = ["recorded_call"]

# What decides nothing about the scores.
LEFT_OUT = {"X", "y", "n_jobs", "resume", "verbose"}
ALWAYS_SHOWN = {"candidates", "baseline", "cv", "scoring", "rope", "random_state"}
BY_IMAGE = {"cv", "groups", "sample_domain"}  # may list all images
HOMES = ("sktl", "sklearn")


def recorded_call(arguments, parameters):
    """Write down the arguments of a call as Python, those that a signature gives as default left out.

    The result is plain: "arguments", from names to code; "imports", from names that the code uses to their modules;
    "needed", names that stand for objects of the user, which nobody else can write down.
    """
    writer = _Writer()
    code = {}
    for name, value in arguments.items():
        if name in LEFT_OUT or (name not in ALWAYS_SHOWN and _is_same(value, parameters[name].default)):
            continue
        code[name] = writer.candidates(value) if name == "candidates" else writer.code_or_name(value, name)
    return {"arguments": code, "imports": writer.imports, "needed": writer.needed}


class _Writer:
    def __init__(self):
        self.imports: dict[str, str] = {}
        self.needed: list[str] = []

    def candidates(self, value):
        """Write the candidates, with a name for each that only the user has."""
        if not isinstance(value, Mapping):
            return self.code_or_name(tuple(value), "candidates")
        texts = [f"{name!r}: {self.code_or_name(one, f'my_{_as_identifier(name)}')}" for name, one in value.items()]
        return "{" + ", ".join(texts) + "}"

    def code_or_name(self, value, name):
        """Write a value, or take note that it has to be put in under a name."""
        known = dict(self.imports)
        try:
            if name in BY_IMAGE and hasattr(value, "__len__"):
                raise TypeError(f"{name} is as long as the data")
            return self._argument(name, value)
        except TypeError:
            self.imports = known
            self.needed.append(name)
            return name

    def _argument(self, name, value):
        """Write an argument; an estimator in the place of a backbone is worth what it was fitted on."""
        if name == "backbone" and gives_backbone(value):
            raise TypeError(f"{type(value).__name__} is fitted")
        return self._code(value)

    def _code(self, value):
        """Return Python that makes an equal value; raise TypeError where that cannot be written down."""
        if value is None or isinstance(value, (bool, int, float, str, np.generic)):
            return self._plain(value.item() if isinstance(value, np.generic) else value)
        if isinstance(value, os.PathLike):
            return repr(os.fspath(value))
        if isinstance(value, (tuple, list)):
            inside = ", ".join(map(self._code, value))
            return f"[{inside}]" if isinstance(value, list) else f"({inside},)" if len(value) == 1 else f"({inside})"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self._code(key)}: {self._code(item)}" for key, item in value.items()) + "}"
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size < 100:
            self.imports["array"] = "numpy"
            return f"array({self._code(value.tolist())})"
        return self._object(value)

    def _plain(self, value):
        if isinstance(value, float) and not np.isfinite(value):  # which print as names
            self.imports[repr(abs(value))] = "numpy"
        return repr(value)

    def _object(self, value):
        """Write an object of scikit-learn or sktl, which keeps the arguments of its constructor."""
        kind = type(value)
        home = kind.__module__.partition("._")[0]
        if home.partition(".")[0] not in HOMES:
            raise TypeError(f"{kind.__name__} is of the user's own")
        texts = []
        for name, parameter in signature(kind).parameters.items():
            if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
                raise TypeError(f"{kind.__name__} takes any arguments")
            kept = {**getattr(value, "cvargs", {}), **vars(value)}
            if name not in kept:
                raise TypeError(f"{kind.__name__} does not keep {name}")
            if not _is_same(kept[name], parameter.default):
                texts.append(f"{name}={self._argument(name, kept[name])}")
        self.imports[kind.__name__] = home
        return f"{kind.__name__}({', '.join(texts)})"


def _is_same(value, default):
    return type(value) is type(default) and repr(value) == repr(default)


def _as_identifier(name):
    return "".join(letter if letter.isalnum() else "_" for letter in name)
