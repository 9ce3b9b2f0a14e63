"""Fixtures that every test file may use, and the conditions under which numbers are compared."""

import importlib.util
import os
import subprocess
import sys

# scikit-learn skips its array API checks unless this is set before scipy is imported.
os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parent / "store" / "store_script.py"


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread():
    """Bit-equality is promised at one thread count, so the tests fix it."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real photos and real weights; its tests are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("SKTL_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip("the folder of real photos and weights (SKTL_SHARED_DATA) is not here")
    return path


@pytest.fixture(autouse=True)
def fresh_store(tmp_path_factory, monkeypatch):
    """Give each test an embedding store of its own: what one test has computed, no other one finds."""
    folder = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("SKTL_CACHE_DIR", str(folder))
    monkeypatch.delenv("SKTL_CACHE_SIZE", raising=False)
    return folder


@pytest.fixture(scope="session")
def script():
    """The functions that other processes run, to be called in this one."""
    spec = importlib.util.spec_from_file_location("store_script", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start():
    """Start a process that runs one of the functions of the script; warnings are errors there."""
    processes = []

    def start(what, *arguments, **options):
        command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(_SCRIPT), what]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def finish():
    """Wait for such a process; return what it has printed."""

    def finish(process, timeout=120):
        out, errors = process.communicate(timeout=timeout)
        assert process.returncode == 0, errors
        return out.removeprefix("ready\n").strip()

    return finish
