"""How the gallery runs the examples."""

import shutil
import warnings
from pathlib import Path


def copied(folder):
    """Copy the examples to a folder, where they may write files, and return it."""
    examples = Path(__file__).parents[1] / "examples"
    shutil.copytree(examples, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for fits in folder.glob("*.jsonl"):
        fits.unlink()  # an example shows what it writes and reads again
    return folder


def warnings_are_errors(gallery_conf, file, when):
    """Judge an example as the tests do, and what comes after it as before."""
    warnings.resetwarnings()
    warnings.simplefilter("error" if when == "before" else "default")
