import json
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktl.comparison import NearDuplicatesWarning, compare_transfer
from sktl.datasets import make_fractals
from sktl.near_duplicates import near_duplicate_groups

PICTURES, LABELS = make_fractals(40, n_classes=2, random_state=0)
COPIED = np.concatenate([PICTURES, np.clip(1.08 * PICTURES[:2], 0, 255).astype(np.uint8)])
NAMES = np.concatenate([LABELS, LABELS[:2]])


def compare(X, y, candidates=None, cv=None, **options):
    candidates = candidates or {"pixels": "pixels", "dummy": "dummy"}
    cv = cv or [(np.arange(20), np.arange(20, len(X))), (np.arange(20, len(X)), np.arange(20))]
    return compare_transfer(X, y, candidates=candidates, baseline="dummy", cv=cv, **options)


def test_near_copies_on_both_sides_of_a_split_are_told_with_a_pair_and_a_way_out():
    message = (
        r"on both sides of 2 of 2 splits \(4 test images in all; images 40 and 0 for instance\).*"
        r"groups=near_duplicate_groups\(X\)"
    )
    with pytest.warns(NearDuplicatesWarning, match=message) as caught:
        comparison = compare(COPIED, NAMES)
    assert str(caught[0].message) in comparison.notes()
    assert comparison.settings["near_duplicates"] == str(caught[0].message)
    copies = [[copy["image"] for copy in group] for group in comparison.settings["near_copies"]]
    assert copies == [[0, 40], [1, 41]]
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_paths_are_named_rather_than_indices(tmp_path):
    paths = [str(tmp_path / f"{number:02}.png") for number in range(len(COPIED))]
    for path, picture in zip(paths, COPIED, strict=True):
        Image.fromarray(picture).save(path)
    with pytest.warns(NearDuplicatesWarning) as caught:
        comparison = compare(paths, NAMES)
    assert f"; {paths[40]!r} and {paths[0]!r} for instance)" in str(caught[0].message)
    assert [copy["file"] for copy in comparison.settings["near_copies"][0]] == [paths[0], paths[40]]
    assert comparison.settings["data"] == "/".join(tmp_path.parts[-2:])


def test_copies_on_one_side_of_every_split_are_kept_without_a_warning():
    comparison = compare(COPIED, NAMES, groups=near_duplicate_groups(COPIED), cv=2)
    assert comparison.settings["near_duplicates"] is None
    assert [[copy["image"] for copy in group] for group in comparison.settings["near_copies"]] == [[0, 40], [1, 41]]


def test_the_way_out_ends_the_warning():
    comparison = compare(COPIED, NAMES, groups=near_duplicate_groups(COPIED), cv=2)
    assert comparison.settings["near_duplicates"] is None


def test_groups_of_the_users_own_are_not_forgotten_in_the_advice():
    with pytest.warns(NearDuplicatesWarning, match=r"near_duplicate_groups\(X, groups=groups\)"):
        compare(COPIED, NAMES, groups=np.arange(len(COPIED)))


def test_the_advice_names_what_is_needed_to_read_the_images():
    rows = COPIED[:, :24, :20].reshape(len(COPIED), -1) / 2.0
    with pytest.warns(NearDuplicatesWarning) as caught:
        compare(rows, NAMES, image_shape=(24, 20, 3), value_range=(0.0, 127.5))
    advice = "near_duplicate_groups(X, image_shape=(24, 20, 3), value_range=(0.0, 127.5))"
    assert f"groups={advice}, which is in" in str(caught[0].message)
    groups = eval(advice, {"near_duplicate_groups": near_duplicate_groups, "X": rows})
    assert groups[0] == groups[40]


@pytest.mark.parametrize("n_features", [3, 64])
@pytest.mark.parametrize("kind", ["arrays", "lists", "dicts"])
def test_a_series_with_an_index_of_its_own_is_compared(kind, n_features):
    X = np.random.default_rng(0).normal(size=(40, n_features))
    items = {"arrays": list(X), "lists": X.tolist(), "dicts": [dict(enumerate(row)) for row in X]}[kind]
    stack = FunctionTransformer(lambda S: np.array([list(row.values()) if kind == "dicts" else row for row in S]))
    own = {"linear": make_pipeline(stack, LogisticRegression()), "dummy": make_pipeline(stack, KNeighborsClassifier(1))}
    comparison = compare(pd.Series(items, index=np.arange(500, 540)), np.arange(40) % 2, own)
    assert comparison.settings["near_duplicates"] is None


@pytest.mark.parametrize(("X", "y"), [(PICTURES, LABELS), load_digits(return_X_y=True)], ids=["fractals", "digits"])
def test_different_pictures_raise_no_alarm(X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(X[:200], y[:200])


def test_the_search_is_left_out_on_request(monkeypatch):
    monkeypatch.setattr("sktl.comparison._compare.warn_of_near_duplicates", None)
    assert compare(COPIED, NAMES, duplicates="ignore").settings["near_duplicates"] is None


def test_rows_that_are_no_pictures_are_not_taken_for_some():
    X = np.repeat(np.random.default_rng(0).normal(size=(20, 3)), 2, axis=0)
    own = {"linear": LogisticRegression(), "dummy": KNeighborsClassifier(1)}
    assert compare(X, np.arange(40) % 2, own).settings["near_duplicates"] is None


def test_the_frozen_candidate_pays_for_its_own_pass():
    comparison = compare(PICTURES, LABELS, {"frozen": "frozen", "dummy": "dummy"})
    assert [run.n_images_through_network for run in comparison.runs_of("frozen")] == [40, 0]
