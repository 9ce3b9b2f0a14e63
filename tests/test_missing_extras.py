"""Whoever lacks an extra is told which one; `make test-wheel` makes the same calls where none is installed."""

import importlib.metadata
import re
import runpy
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
ROOT = Path(__file__).parents[1]
TRY_WHEEL = runpy.run_path(str(ROOT / "releasing" / "try_wheel.py"))
EXTRAS = {extra: packages for extra, (packages, _) in TRY_WHEEL["EXTRAS"].items()}
REQUIREMENTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@pytest.fixture
def nothing_optional(monkeypatch, tmp_path):
    """A process in which the packages of extras are not installed."""
    from PIL import Image

    def not_installed(name):
        raise importlib.metadata.PackageNotFoundError(name)

    def not_found(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr("sktl._optional.import_module", not_found)
    monkeypatch.setattr("sktl._optional.distribution", not_installed)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"cli"}))  # tests/cli/test_main.py has that one, in less time
def test_an_error_names_the_extra_that_is_missing(extra, nothing_optional):
    assert f"Install it with: pip install 'sktl[{extra}]'" in TRY_WHEEL["what_is_said_without"](extra)


def test_every_extra_for_users_has_a_call_that_needs_it():
    assert TRY_WHEEL["EXTRAS"].keys() == REQUIREMENTS.keys() - TRY_WHEEL["NOT_CALLED"]


def test_packages_that_must_be_missing_are_those_of_the_extras():
    def name(requirement):
        return re.split(r"[^\w-]", requirement)[0].replace("-", "_")

    for extra, packages in EXTRAS.items():
        required = {name(one) for one in REQUIREMENTS[extra]} | ({"aiohttp"} if extra == "remote" else set())
        assert set(packages) <= required, extra


def test_all_takes_every_extra_for_users():
    (every,) = REQUIREMENTS["all"]
    assert set(every.removeprefix("sktl[").rstrip("]").split(",")) == EXTRAS.keys() | {"adapt"}
