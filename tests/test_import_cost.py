"""Importing sktl is light: torch alone takes seconds, and a shell that completes a command must not wait for it."""

import json
import subprocess
import sys

HEAVY = {"dask", "matplotlib", "pandas", "rich", "skada", "skorch", "timm", "torch", "torchvision", "typer"}
# Run one after the other in one process; what must not have been loaded by then.
STEPS = {
    "import sktl, sktl.exceptions": {*HEAVY, "numpy", "sklearn"},
    "import sktl.cli": HEAVY,
    "import sktl.store": {*HEAVY, "PIL", "sklearn"},
    "from sktl.images import read_image; read_image(__import__('numpy').zeros((2, 2)))": HEAVY - {"pandas", "rich"},
    "from sktl import PretrainedFeatureExtractor": {"skorch", "typer"},
    # pandas and rich are not asked for: joblib, tqdm and others import them where they are installed.
    "from sktl import *": {"dask", "matplotlib", "skada", "timm", "typer"},
}
PROGRAM = """
import json, sys
loaded = {}
for step in json.loads(sys.argv[1]):
    exec(step)
    loaded[step] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(loaded))
"""
# Run as by `python -m sktl`, one after the other in one process: none of them takes longer alone.
COMMANDS = [["--version"], ["--help"], ["compare", "--help"], ["cache", "path"], ["cache", "info"], ["cache", "clear"]]
MAX_SECONDS = 0.7  # of the processor, where importing torch takes more than two
COMMAND_PROGRAM = """
import json, os, runpy, sys
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["sktl", *arguments]
    try:
        runpy.run_module("sktl", run_name="__main__")
    except SystemExit as stop:
        assert not stop.code, stop.code
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([sum(os.times()[:2]), loaded]), file=sys.stderr)
"""


def run(program, argument):
    command = [sys.executable, "-c", program, json.dumps(argument)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def test_imports_load_nothing_heavy_before_it_is_needed():
    loaded = json.loads(run(PROGRAM, list(STEPS)).stdout)
    assert loaded.keys() == STEPS.keys()
    assert "torch" in loaded["from sktl import PretrainedFeatureExtractor"]
    offenders = {step: STEPS[step] & set(names) for step, names in loaded.items()}
    assert not any(offenders.values()), offenders


def test_commands_that_compute_nothing_answer_at_once():
    """The best of three counts: a busy machine only adds."""
    for _ in range(3):
        done = run(COMMAND_PROGRAM, COMMANDS)
        seconds, loaded = json.loads(done.stderr.splitlines()[-1])
        if seconds < MAX_SECONDS:
            break
    assert seconds < MAX_SECONDS
    assert not {"PIL", "matplotlib", "pandas", "sklearn", "skorch", "torch", "torchvision"} & set(loaded)
    assert done.stdout.count("Usage: sktl") == 2  # not __main__.py
    assert "0 embeddings, 0 bytes of at most 5 GB" in done.stdout
