"""Fixtures that every test file may use, and the conditions under which numbers are compared."""

import os

# scikit-learn skips its array API checks unless this is set before scipy is imported.
os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

from pathlib import Path

import pytest


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
