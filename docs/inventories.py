"""Inventories of what these pages say of other projects, so that the links to them need no network.

Sphinx takes the inventory of a project where it can be reached, and these where it cannot. They are made from the names
in the sources: the imports of the examples, the roles of the docstrings, and the types that numpydoc links.
"""

import ast
import inspect
import re
import zlib
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The address of each project, and where the page of a name is.
PROJECTS = {
    "python": ("https://docs.python.org/3/", "library/{module}.html#{name}"),
    "matplotlib": ("https://matplotlib.org/stable/", "api/_as_gen/{name}.html#{name}"),
    "numpy": ("https://numpy.org/doc/stable/", "reference/generated/{name}.html#{name}"),
    "pandas": ("https://pandas.pydata.org/docs/", "reference/api/{name}.html#{name}"),
    "skorch": ("https://skorch.readthedocs.io/en/stable/", "{last}.html#{name}"),
    "sklearn": ("https://scikit-learn.org/stable/", "modules/generated/{name}.html#{name}"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "generated/{name}.html#{name}"),
}
# What the types of parameters mean, beside what numpydoc knows by itself.
TYPES = {
    "Axes": "matplotlib.axes.Axes",
    "DataFrame": "pandas.DataFrame",
    "Figure": "matplotlib.figure.Figure",
    "Path": "pathlib.Path",
    "Pipeline": "sklearn.pipeline.Pipeline",
    "array-like": ":term:`sklearn:array-like`",
    "estimator": ":term:`sklearn:estimator`",
    "skorch.NeuralNet": "skorch.net.NeuralNet",
    "skorch.history.History": ":class:`skorch.history.History`",
    "sklearn.metrics.ConfusionMatrixDisplay": ":class:`sklearn.metrics.ConfusionMatrixDisplay`",
    **{name: f":class:`{name}`" for name in ("torch.Tensor", "torch.device", "torch.nn.Module", "torch.nn.Sequential")},
}
# Names that lie elsewhere than the rule of their project says, and targets that are no names of Python.
PLACES = {
    "python": {
        **{("py:data", name): f"library/constants.html#{name}" for name in ("None", "True", "False")},
        **{("py:class", name): f"library/stdtypes.html#{name}" for name in ("dict", "list", "str", "tuple")},
        **{("py:class", name): f"library/functions.html#{name}" for name in ("float", "int")},
        ("py:function", "callable"): "library/functions.html#callable",
        ("std:label", "bltin-boolean-values"): "library/stdtypes.html#boolean-type-bool",
        **{("std:term", name): f"glossary.html#term-{name}" for name in ("generator", "iterable", "sequence")},
    },
    "matplotlib": {
        ("py:class", "matplotlib.axes.Axes"): "api/_as_gen/matplotlib.axes.Axes.html#matplotlib.axes.Axes",
        ("py:class", "matplotlib.figure.Figure"): "api/_as_gen/matplotlib.figure.Figure.html#matplotlib.figure.Figure",
    },
    "numpy": {
        ("py:class", "numpy.ndarray"): "reference/generated/numpy.ndarray.html#numpy.ndarray",
        ("py:class", "numpy.random.RandomState"): "reference/random/legacy.html#numpy.random.RandomState",
        ("std:term", "array_like"): "glossary.html#term-array_like",
        ("std:label", "arrays.scalars"): "reference/arrays.scalars.html#arrays-scalars",
    },
    "sklearn": {
        ("std:label", "accuracy_score"): "modules/model_evaluation.html#accuracy-score",
        ("std:label", "r2_score"): "modules/model_evaluation.html#r2-score",
        **{("std:term", name): f"glossary.html#term-{name}" for name in ("array-like", "estimator")},
    },
    "torch": {
        ("py:class", "torch.Tensor"): "tensors.html#torch.Tensor",
        ("py:class", "torch.device"): "tensor_attributes.html#torch.device",
    },
}


def names():
    """Return every dotted name of another project in the examples, in roles and among the types."""
    found = {re.sub(":class:`(.*)`", r"\1", target) for target in TYPES.values() if not target.startswith(":term:")}
    for file in (ROOT / "sktl").rglob("*.py"):
        found.update(re.findall(r":(?:class|func):`~?([\w.]+)`", file.read_text(encoding="utf-8")))
    for file in (ROOT / "examples").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return sorted(found)


def project_of(name):
    """Return the project that a name belongs to, or None for one of sktl, or of a package that is not linked."""
    top = name.partition(".")[0]
    return "python" if top == "pathlib" else top if top in PROJECTS else None


def places():
    """Return project → {(kind of target, name): place below the project's address}."""
    found = {project: dict(PLACES.get(project, {})) for project in PROJECTS}
    for name in names():
        module, _, attribute = name.rpartition(".")
        if project := project_of(name):
            value = getattr(import_module(module), attribute)
            kind = "py:class" if inspect.isclass(value) else "py:module" if inspect.ismodule(value) else "py:function"
            place = PROJECTS[project][1].format(name=name, module=module, last=module.rpartition(".")[2])
            found[project].setdefault((kind, name), place)
    return found


def write(folder):
    """Write the inventories, and return what Sphinx's `intersphinx_mapping` wants to know."""
    folder.mkdir(parents=True, exist_ok=True)
    for project, targets in places().items():
        header = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        header += "# The remainder of this file is compressed using zlib.\n"
        lines = [f"{name} {kind} 1 {place} -\n" for (kind, name), place in targets.items()]
        (folder / f"{project}.inv").write_bytes(header.encode() + zlib.compress("".join(lines).encode()))
    return {name: (address, (None, str(folder / f"{name}.inv"))) for name, (address, _) in PROJECTS.items()}
