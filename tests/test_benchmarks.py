"""Scripts outside the package import names that are there: nothing else runs them between two studies."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [
    path for folder in ("benchmarks", "pretraining", "examples") for path in sorted((ROOT / folder).glob("*.py"))
]


def names_of_sktl(path):
    """Return what a script imports from the package, as pairs of module and name."""
    imports = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))
    return [
        (node.module, alias.name)
        for node in imports
        if node.module and node.module.partition(".")[0] == "sktl"
        for alias in node.names
    ]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_script_imports_from_the_package_exists(path):
    for module, name in names_of_sktl(path):
        found = import_module(module)
        assert hasattr(found, name) or import_module(f"{module}.{name}"), f"{module} has no {name}"


def test_names_are_found_in_scripts():
    assert sum(len(names_of_sktl(path)) for path in SCRIPTS) > len(SCRIPTS)
