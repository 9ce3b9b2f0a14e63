"""A release: an sdist and a wheel that hold what they must and nothing else, the same bytes each time."""

import configparser
import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import sktl

ROOT = Path(__file__).parents[1]
COMMAND = ROOT / "releasing" / "build_distributions.py"
PACKAGE = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sktl").rglob("*.py")}
DATA = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sktl/backbones/weights").iterdir()} | {"sktl/py.typed"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a wheel and an sdist."""
    pytest.importorskip("build")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("what belongs to a distribution is what git tracks")
    folder = tmp_path_factory.mktemp("distributions")
    runpy.run_path(str(COMMAND))["build"](folder)
    return folder


def wheel_of(folder):
    return next(folder.glob("*.whl"))


def test_a_wheel_holds_the_package_its_data_and_its_licence_and_nothing_else(folder):
    with zipfile.ZipFile(wheel_of(folder)) as wheel:
        names = set(wheel.namelist())
    record = f"sktl-{sktl.__version__}.dist-info"
    assert {name for name in names if not name.startswith(f"{record}/")} == PACKAGE | DATA
    assert {name.removeprefix(f"{record}/") for name in names if name.startswith(record)} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    }


def test_data_in_a_wheel_are_those_of_the_repository(folder):
    with zipfile.ZipFile(wheel_of(folder)) as wheel:
        assert all(wheel.read(name) == (ROOT / name).read_bytes() for name in DATA)
        assert wheel.read(f"sktl-{sktl.__version__}.dist-info/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_a_wheel_runs_wherever_python_does_and_says_what_it_needs(folder):
    with zipfile.ZipFile(wheel_of(folder)) as wheel:
        about = Parser().parsestr(wheel.read(f"sktl-{sktl.__version__}.dist-info/METADATA").decode())
        commands = configparser.ConfigParser()
        commands.read_string(wheel.read(f"sktl-{sktl.__version__}.dist-info/entry_points.txt").decode())
    assert wheel_of(folder).name == f"sktl-{sktl.__version__}-py3-none-any.whl"
    assert (about["Name"], about["Version"], about["License-Expression"]) == ("sktl", sktl.__version__, "BSD-3-Clause")
    assert about["Requires-Python"] == ">=3.10"
    assert about["Description-Content-Type"] == "text/markdown"
    always = {one.split(">")[0] for one in about.get_all("Requires-Dist") if "extra ==" not in one}
    assert always == {
        *("joblib", "numpy", "pillow", "safetensors", "scikit-learn", "scipy", "skorch", "torch", "torchvision", "tqdm")
    }
    assert dict(commands["console_scripts"]) == {"sktl": "sktl.cli:main"}


def test_an_sdist_holds_what_builds_the_wheel_without_owner_and_permissions_of_a_machine(folder):
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        members = {member.name.partition("/")[2]: member for member in sdist}
    built = {name for name in members if name.startswith("sktl.egg-info/")}
    assert members.keys() - built == PACKAGE | DATA | {
        *("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"),
        *("pyproject.toml", "setup.cfg"),
    }
    assert {(member.uid, member.gid, member.uname, member.mode) for member in members.values()} == {(0, 0, "", 0o644)}
    assert len({member.mtime for member in members.values()}) == 1


@pytest.mark.slow
def test_two_builds_give_the_same_bytes(folder, tmp_path):
    """The command says so, and gives what was built before as well."""
    done = subprocess.run([sys.executable, COMMAND, tmp_path / "dist"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in folder.iterdir():
        assert (tmp_path / "dist" / path.name).read_bytes() == path.read_bytes()
        assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {tmp_path / 'dist' / path.name}" in done.stdout


@pytest.mark.slow
def test_an_unpacked_sdist_builds_the_same_wheel(folder, tmp_path):
    """In a folder of another name, by someone with other permissions."""
    sdist = next(folder.glob("*.tar.gz"))
    with tarfile.open(sdist) as opened:
        when = opened.getmembers()[0].mtime
        opened.extractall(tmp_path, filter="data")
    source = next(tmp_path.iterdir())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "again", source]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(int(when))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, umask=0o022, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert wheel_of(tmp_path / "again").read_bytes() == wheel_of(folder).read_bytes()
