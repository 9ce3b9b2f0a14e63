"""An editable install is found from everywhere."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import sktl

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools import build_meta; print(build_meta.build_editable('..'))"


@pytest.fixture
def python(tmp_path):
    """The Python of an environment with an editable install, as pip makes it, of the clone tmp_path/sktl."""
    pytest.importorskip("setuptools", minversion="77")
    clone = tmp_path / "sktl"
    shutil.copytree(ROOT / "sktl", clone / "sktl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    wheel = run([sys.executable, "-c", BUILD], clone).splitlines()[-1]
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path).strip())
    zipfile.ZipFile(tmp_path / wheel).extractall(packages)
    (packages / "other_packages.pth").write_text(str(Path(pytest.__file__).parents[1]))
    return python


def run(command, folder):
    """Run a command in a folder; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_clone_named_sktl_does_not_shadow_its_install_from_the_parent_folder(python, tmp_path):
    """`python -c` and `-m` look into the current folder first, where the clone could be a namespace package."""
    found = run([python, "-c", "import sktl; print(sktl.__file__)"], tmp_path)
    assert found.strip() == str(tmp_path / "sktl" / "sktl" / "__init__.py")
    assert sktl.__version__ in run([python, "-m", "sktl", "--version"], tmp_path)
