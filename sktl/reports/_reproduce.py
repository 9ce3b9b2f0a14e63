"""The Python that runs a comparison again, given the same images and labels."""

import ast
import os
import sys
from inspect import signature

from sklearn.metrics import get_scorer_names

from sktl._candidate_names import CANDIDATE_NAMES
from sktl.comparison import compare_transfer
from sktl.comparison._candidates import make_candidates

__all__ = ["code_to_run_again"]

# What decides nothing about the scores, or is written by hand below.
LEFT_OUT = {"X", "y", "candidates", "baseline", "cv", "groups", "scoring", "rope", "n_jobs", "resume", "verbose"}
# What make_candidates needs to make the recipes again.
OF_RECIPES = (
    *("task", "weights", "unfreeze_depth", "max_epochs", "backbone"),
    *("image_size", "image_shape", "value_range", "batch_size", "device", "precision"),
)
HOMES = ("sktl", "sklearn", "numpy")


def code_to_run_again(comparison, last=""):
    """Write the Python that runs a comparison again.

    Parameters
    ----------
    comparison : TransferComparison
        What was run.
    last : str, default=""
        A last line of code, about the comparison.

    Returns
    -------
    code : str
        Runs where `X` and `y` are the same images and labels.
    needed : list of str
        Names in it that stand for objects of the user, which nobody else can write down.
    """
    settings = comparison.settings
    imports: dict[str, str] = {"compare_transfer": "sktl"}
    needed: list[str] = []
    arguments = {"candidates": _candidates(settings, imports, needed), "baseline": repr(comparison.baseline)}
    arguments["cv"] = _cv(settings.get("cv", "5"), imports, needed)
    if settings.get("groups"):
        arguments["groups"] = "groups"
        needed.append("groups")
    arguments["scoring"] = _scoring(comparison, needed)
    arguments["rope"] = repr(comparison.rope)
    for name, parameter in signature(compare_transfer).parameters.items():
        if name not in settings or name in LEFT_OUT:
            continue
        value = settings[name]
        if name == "random_state" or repr(value) != repr(parameter.default):
            text = repr(os.fspath(value) if isinstance(value, os.PathLike) else value)
            arguments[name] = _expression(text, name, imports, needed)
    lines = [f"    {name}={text}," for name, text in arguments.items()]
    call = ["comparison = compare_transfer(", "    X,", "    y,", *lines, ")", "print(comparison)"]
    return "\n".join([*_statements(imports), "", *call, last]).rstrip(), needed


def _statements(imports):
    return sorted(f"from {module} import {name}" for name, module in imports.items())


def _candidates(settings, imports, needed):
    """Names of recipes where that is what they are, and estimators as they print themselves."""
    texts = {}
    for name, text in settings.get("estimators", {}).items():
        recipe = _recipe_of(text, settings)
        texts[name] = repr(recipe) if recipe else _expression(text, "my_" + _as_identifier(name), imports, needed)
    if all(repr(name) == text for name, text in texts.items()):
        return f"({', '.join(texts.values())})"
    return "{" + ", ".join(f"{name!r}: {text}" for name, text in texts.items()) + "}"


def _recipe_of(text, settings):
    """Which recipe prints itself like that, if any."""
    known = {name: settings[name] for name in OF_RECIPES if name in settings}
    if len(known) < len(OF_RECIPES):  # a comparison that was put together by hand
        return None
    recipes = make_candidates(CANDIDATE_NAMES, **known)
    return next((name for name, recipe in recipes.items() if repr(recipe) == text), None)


def _as_identifier(name):
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _cv(text, imports, needed):
    if text.startswith(("[", "(")):  # written out, splits are longer than everything else
        needed.append("cv")
        return "cv"
    return _expression(text, "cv", imports, needed)


def _scoring(comparison, needed):
    names = comparison.metrics
    # A scorer of the user's own may go by the name of a built-in one.
    if not comparison.settings.get("scoring_by_name", set(names) <= set(get_scorer_names())):
        needed.append("scoring")
        return "scoring"
    return repr(names[0] if len(names) == 1 else names)


def _expression(text, name, imports, needed):
    """Take over text that is Python, with the imports it needs; a name of its own stands for anything else."""
    try:
        tree = ast.parse(" ".join(text.split()), mode="eval")
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if any(isinstance(node, ast.Constant) and node.value is Ellipsis for node in ast.walk(tree)):
            raise ValueError("cut short by repr")
        homes = {one: _home_of(one) for one in used}
        if None in homes.values():
            raise ValueError("made of something that is not of sktl, scikit-learn or numpy")
    except (SyntaxError, ValueError):
        needed.append(name)
        return name
    imports.update(homes)
    return ast.unparse(tree)


def _home_of(name):
    """Find the module that offers a name; it is loaded, since the estimator was made from it."""
    modules = [
        path
        for path, module in list(sys.modules.items())
        if path.partition(".")[0] in HOMES
        and not any(part.startswith("_") for part in path.split("."))
        and name in (getattr(module, "__all__", None) or ())
    ]
    return min(modules, key=lambda path: (path.count("."), HOMES.index(path.partition(".")[0]), path), default=None)
