"""Scripts outside the package import names that are there: nothing else runs them between two studies."""

import ast
import runpy
import sys
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


@pytest.fixture(scope="module")
def quick():
    """The script of `make bench-quick`, which imports its neighbours."""
    for package in ("timm", "onnxruntime"):
        pytest.importorskip(package)
    before, folder = set(sys.modules), ROOT / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield runpy.run_path(str(folder / "quick.py"))
    for name in {path.stem for path in folder.glob("*.py")} - before:
        sys.modules.pop(name, None)


def test_every_promise_stands_on_the_page_above_its_floor(quick):
    page = quick["PAGE"].read_text(encoding="utf-8")
    for promise in quick["PROMISES"]:
        assert 1.05 * promise.floor < quick["claimed"](promise, page), promise.name


@pytest.mark.parametrize(
    ("ratios", "code", "said"),
    [([2.0, 1.0, 3.0], 0, "| ok |"), ([1.0, 1.1, 3.0], 1, "| BELOW |"), (None, 0, "not on this machine")],
)
def test_a_median_below_its_floor_fails(quick, ratios, code, said, monkeypatch, capsys):
    promise = quick["PROMISES"][0]._replace(name="this alone", floor=1.5, measure=lambda folder: ratios)
    monkeypatch.setattr(sys, "argv", ["quick.py", "alone"])
    main = quick["main"]
    monkeypatch.setitem(main.__globals__, "PROMISES", [promise, promise._replace(name="another", measure=None)])
    assert main() == code
    assert said in capsys.readouterr().out


@pytest.mark.slow
def test_a_promise_is_measured(quick, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quick.py", "stored vector"])
    quick["main"]()
    assert "| a stored vector" in capsys.readouterr().out
