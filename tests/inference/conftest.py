"""Other processes at the same store."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).with_name("store_script.py")


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
