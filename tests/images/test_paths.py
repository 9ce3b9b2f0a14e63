import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sktl.images import as_images
from sktl.images.paths import common_folder, path_at

PATHS = ["data/photos/ants/1.jpg", "data/photos/ants/2.jpg", "data/photos/bees/1.jpg"]


@pytest.mark.parametrize(
    "X",
    [
        PATHS,
        tuple(map(Path, PATHS)),
        np.array(PATHS),
        np.array(PATHS, dtype=object)[:, None],
        pd.Series(PATHS, index=[7, 8, 9]),
        pd.DataFrame({"path": PATHS, "other": [1, 2, 3]}),
        pl.Series(PATHS),
    ],
    ids=["list", "tuple of Path", "array", "table", "pandas", "frame", "polars"],
)
def test_paths_are_found_in_every_kind_of_X_and_are_plain_text(X):
    assert [repr(path_at(X, index)) for index in (2, 0)] == [repr(PATHS[2]), repr(PATHS[0])]
    assert common_folder(X) == os.path.join("data", "photos")


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 8, 8, 3), dtype=np.uint8),
        [np.zeros((8, 8, 3), dtype=np.uint8)] * 3,
        np.zeros((3, 64)),
        [b"bytes"] * 3,
        as_images(np.zeros((3, 8, 8, 3), dtype=np.uint8)),
        [None, "a/b.jpg"],
    ],
)
def test_what_names_no_files_has_no_paths(X):
    assert path_at(X, 0) is None
    assert common_folder(X) is None


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["photos/1.jpg", "photos/2.jpg"], "photos"),
        (["/srv/set/images/a/1.jpg", "/srv/set/images/b/2.jpg"], "set/images"),
        ([str(Path.home() / "photos" / "1.jpg"), str(Path.home() / "photos" / "2.jpg")], "photos"),  # nobody's name
        (["a/1.jpg", "b/2.jpg"], None),
        (["a/1.jpg", "/b/2.jpg"], None),
        (["a/1.jpg", b"b/2.jpg"], None),
        (["a/1.jpg", 3], None),
    ],
)
def test_the_folder_is_the_one_that_holds_all_images(paths, folder):
    assert common_folder(paths) == folder
