"""The checks of benchmarks/gpu.py without an accelerator: on the CPU, and on a device that refuses to mix with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def run(program, *arguments):
    """Run in a process of its own, since the pretended device changes torch."""
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), str(FOLDER)])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "word"), [("cpu", "moved"), ("pretend", "moved"), ("pretend", "streams"), ("pretend", "depth")]
)
def test_checks_pass(device, word):
    done = run("import gpu; raise SystemExit(gpu.main())", "--device", device, "--only", word)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| FAIL |" not in done.stdout
    assert "| pass |" in done.stdout


BROKEN = """
import gpu
from sktl.training._net import FineTuneNet

loss = FineTuneNet.get_loss
def on_the_cpu(self, y_pred, y_true, X=None, training=False):
    return self.criterion_(y_pred, X["targets"]).mean()  # which nobody has moved to the device
FineTuneNet.get_loss = on_the_cpu
raise SystemExit(gpu.main())
"""


@pytest.mark.slow
def test_what_is_not_moved_to_the_device_fails_and_stops_no_other_check():
    done = run(BROKEN, "--device", "pretend", "--only", "depth")
    assert done.returncode == 1
    assert "| depth 1 | FAIL | RuntimeError: Expected all tensors to be on the same device" in done.stdout
    assert "| depth 0: the exact probe | pass |" in done.stdout
    assert "Traceback" in done.stdout
