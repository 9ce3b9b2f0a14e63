"""Importing sktl is light: torch alone takes seconds, and a shell that completes a command must not wait for it."""

import subprocess
import sys

import pytest

HEAVY = ("dask", "matplotlib", "pandas", "rich", "skorch", "timm", "torch", "torchvision", "typer")


def loaded_by(program):
    """Which of the heavy packages a program has loaded when it ends."""
    report = f"import sys; print(*sorted({set(HEAVY)!r} & set(sys.modules)), sep=',', file=sys.stderr)"
    code = f"import atexit\natexit.register(lambda: exec({report!r}))\n{program}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 0, done.stderr
    return set(lines[-1].split(",")) if lines else set()


@pytest.mark.parametrize("module", ["sktl", "sktl.exceptions", "sktl.cli"])
def test_import_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}") == set()


def test_import_of_sktl_leaves_scikit_learn_alone():
    program = "import sys, sktl; sys.exit('sklearn' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_images_are_read_without_torch():
    program = "import numpy; from sktl.images import read_image; read_image(numpy.zeros((2, 2)))"
    assert not loaded_by(program) & {"torch", "torchvision", "skorch", "matplotlib"}


def test_the_extractor_does_without_skorch():
    assert "skorch" not in loaded_by("from sktl import PretrainedFeatureExtractor")


def test_no_public_name_loads_what_only_plots_and_commands_need():
    """pandas and rich are not asked for: joblib, tqdm and others import them where they are installed."""
    assert not loaded_by("from sktl import *") & {"dask", "matplotlib", "timm", "typer"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compare", "--help"]])
def test_help_comes_without_torch(arguments):
    program = f"import sys; sys.argv = ['sktl', *{arguments!r}]; from sktl.cli import main; main()"
    assert not loaded_by(program) & {"matplotlib", "pandas", "skorch", "torch", "torchvision"}
