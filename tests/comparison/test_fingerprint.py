import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from sktl.comparison._fingerprint import digest_of_images, versions


def test_images_are_identified_by_their_content_wherever_they_lie(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    first = digest_of_images([tmp_path / "a.png"])
    assert first == digest_of_images([str(tmp_path / "b.png")])
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "a.png")
    assert digest_of_images([tmp_path / "a.png"]) != first
    assert digest_of_images([tmp_path / "none.png"]) != first
    rows = np.random.default_rng(0).normal(size=(5, 3))
    assert digest_of_images(rows) == digest_of_images(rows.copy()) != digest_of_images(rows[::-1])


@pytest.mark.parametrize(
    "table",
    [
        lambda paths: pd.DataFrame({"path": paths, "weight": [0.0, 1.0]}),
        lambda paths: pd.DataFrame({"path": pd.Series(paths, dtype="string"), "weight": [0.0, 1.0]}),
        lambda paths: pd.DataFrame([[paths[0], paths[1]]] * 2, columns=["same", "same"]),
        lambda paths: pl.DataFrame({"path": [str(path) for path in paths], "weight": [0.0, 1.0]}),
        lambda paths: [{"path": path, "weight": 0.0} for path in paths],
        lambda paths: [(path, 0.0) for path in paths],
        lambda paths: np.array([[path, 0.0] for path in paths], dtype=object),
        lambda paths: np.array([[str(path), "0.0"] for path in paths]),
    ],
    ids=["frame", "strings", "twins", "polars", "dictionaries", "tuples", "objects", "text"],
)
def test_files_that_a_table_names_are_identified_by_their_content_too(table, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.new("RGB", (4, 4), "red").save(path)
    first = digest_of_images(table(paths))
    assert first == digest_of_images(table(paths))
    Image.new("RGB", (4, 4), "blue").save(paths[1])
    changed = digest_of_images(table(paths))
    assert changed != first
    paths[1].unlink()
    assert digest_of_images(table(paths)) not in (first, changed)


def test_every_package_that_a_score_comes_from_has_its_version_in_the_key():
    assert {"python", "sktl", "torch", "torchvision", "pillow", "scipy", "skorch"} <= versions().keys()
