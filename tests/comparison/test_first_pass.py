"""One pass before the first fit finds every image that cannot be read, and says so once."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, PredefinedSplit, StratifiedKFold

from sktl import compare_transfer
from sktl.comparison import TransferComparison
from sktl.datasets import make_fractals
from sktl.exceptions import BadImagesError, ImageReadError

PICTURES, LABELS = make_fractals(30, n_classes=2, image_size=40, random_state=0)
QUICK = {"candidates": ("dummy", "pixels", "frozen"), "baseline": "dummy", "cv": 3}
BAD = (4, 11, 17)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-200])


def not_a_picture(path):
    path.write_text("not a picture")


def gone(path):
    path.unlink()


def locked(path):
    path.chmod(0)


FAULTS = {
    "cut off": (cut_off, "damaged or cut off"),
    "no picture": (not_a_picture, "must be an image in a format that Pillow reads"),
    "empty": (lambda path: path.write_bytes(b""), "must have content"),
    "gone": (gone, "does not exist"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "must name a file"),
    "locked": (locked, "cannot be opened"),
}


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number:02}.png" for number in range(len(PICTURES))]
    for path, picture in zip(paths, PICTURES, strict=True):
        Image.fromarray(picture).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def damaged(files):
    """The files, of which three cannot be read, each for a reason of its own."""
    for position, fault in zip(BAD, (cut_off, not_a_picture, gone), strict=True):
        fault(Path(files[position]))
    return files


class Counting(ClassifierMixin, BaseEstimator):
    """Counts the fits of all its kind."""

    n_fits = 0

    def fit(self, X, y):
        Counting.n_fits += 1
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize("duplicates", ["warn", "ignore", "group"])
def test_all_bad_images_are_named_at_once_before_the_first_fit(damaged, duplicates):
    Counting.n_fits = 0
    candidates = {"dummy": "dummy", "own": Counting(), "pixels": "pixels"}
    with pytest.raises(BadImagesError, match=r"^X must hold images that can be read. Got 3 of 30 ") as caught:
        compare_transfer(damaged, LABELS, candidates=candidates, baseline="dummy", duplicates=duplicates)
    assert Counting.n_fits == 0
    assert [(bad.index, bad.path) for bad in caught.value.bad_images] == [(i, damaged[i]) for i in BAD]
    message = str(caught.value)
    for position, reason in zip(BAD, ("cut off", "Pillow reads", "does not exist"), strict=True):
        assert message.count(damaged[position]) == 1
        assert reason in message
    assert "on_bad_image='skip'" in message
    assert [bad.index for bad in pickle.loads(pickle.dumps(caught.value)).bad_images] == list(BAD)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_kind_of_fault_is_found_with_its_reason(files, fault):
    damage, reason = FAULTS[fault]
    damage(Path(files[7]))
    if fault == "locked" and os.access(files[7], os.R_OK):
        pytest.skip("nothing is locked for this user")
    with pytest.raises(BadImagesError, match=rf"1 of 30 .*\n  image 7 \(.*07\.png'\): .*{reason}"):
        compare_transfer(files, LABELS, **QUICK)


def test_a_message_names_the_first_ten_and_the_exception_has_all(files):
    for path in files[::2]:
        not_a_picture(Path(path))
    with pytest.raises(BadImagesError, match=r"Got 15 of 30 (.*\n){11}  and 5 more\nMend") as caught:
        compare_transfer(files, LABELS, **QUICK)
    assert str(caught.value).count("\n  image ") == 10
    assert [bad.index for bad in caught.value.bad_images] == list(range(0, 30, 2))


def test_paths_may_be_names_of_anything_to_candidates_of_the_users_own(damaged):
    Counting.n_fits = 0
    candidates = {"dummy": "dummy", "own": Counting()}
    comparison = compare_transfer(damaged, LABELS, candidates=candidates, baseline="dummy")
    assert Counting.n_fits == 5
    assert comparison.bad_images == ()
    comparison = compare_transfer(damaged, LABELS, candidates=candidates, baseline="dummy", on_bad_image="skip")
    assert [bad.index for bad in comparison.bad_images] == list(BAD)


KINDS = {
    "list": list,
    "array": lambda files: np.array(files, dtype=object),
    "frame": lambda files: pd.DataFrame({"path": files}),
    "bytes": lambda files: [Path(path).read_bytes() if Path(path).exists() else b"" for path in files],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duplicates", ["warn", "ignore"])
def test_images_left_out_leave_the_scores_of_a_comparison_without_them(damaged, kind, duplicates):
    X, y, rest = KINDS[kind](damaged), np.where(LABELS, "b", "a"), np.setdiff1d(np.arange(30), BAD)
    groups = np.arange(30) // 2
    options = {**QUICK, "duplicates": duplicates}
    found = compare_transfer(X, y, on_bad_image="skip", groups=groups, **options)
    others = [damaged[i] for i in rest]
    expected = compare_transfer(others, y[rest], groups=groups[rest], **options)
    for name in expected.candidates:
        np.testing.assert_array_equal(found.scores[name], expected.scores[name])
        one, other = found.out_of_fold(name), expected.out_of_fold(name)
        np.testing.assert_array_equal(one["index"], rest[other["index"]])  # counted in the X that was passed
        np.testing.assert_array_equal(one["y_pred"], other["y_pred"])
        np.testing.assert_array_equal(one["y_true"], other["y_true"])
    assert [bad.index for bad in found.bad_images] == list(BAD)
    assert found.settings["n_images"] == 27
    assert len(found.y) == 30
    assert found.rows() != []


def test_arrays_with_numbers_that_are_none_are_left_out_too():
    X = PICTURES / 255.0
    X[[3, 20]] = np.nan
    comparison = compare_transfer(X, LABELS, on_bad_image="skip", **QUICK)
    assert [bad.index for bad in comparison.bad_images] == [3, 20]
    rest = np.setdiff1d(np.arange(30), [3, 20])
    expected = compare_transfer(X[rest], LABELS[rest], **QUICK)
    np.testing.assert_array_equal(comparison.scores["frozen"], expected.scores["frozen"])


SPLITTERS = {
    "splitter": (StratifiedKFold(3), None),
    "predefined": (PredefinedSplit(np.arange(30) % 3), None),
    "groups": (LeaveOneGroupOut(), np.arange(30) % 3),
    "pairs": ([(np.arange(10, 30), np.arange(10)), (np.arange(20), np.arange(20, 30))], None),
    "masks": ([(np.arange(30) >= 10, np.arange(30) < 10)], None),
}


# What can be gone through once is a generator of pairs, whoever made them.
ONCE = [pytest.param(kind, True, marks=() if kind == "splitter" else pytest.mark.slow) for kind in SPLITTERS]


@pytest.mark.parametrize(("kind", "once"), [*((kind, False) for kind in SPLITTERS), *ONCE])
def test_splits_of_the_users_own_count_all_images_and_lose_the_bad_ones(damaged, kind, once):
    cv, groups = SPLITTERS[kind]
    pairs = list(cv.split(damaged, LABELS, groups)) if hasattr(cv, "split") else cv
    cv = (pair for pair in pairs) if once else cv
    options = {**QUICK, "cv": cv, "groups": groups}
    comparison = compare_transfer(damaged, LABELS, on_bad_image="skip", **options)
    for (train, test), (own_train, own_test) in zip(comparison.splits, pairs, strict=True):
        np.testing.assert_array_equal(train, np.setdiff1d(np.arange(30)[own_train], BAD))
        np.testing.assert_array_equal(test, np.setdiff1d(np.arange(30)[own_test], BAD))


def test_a_split_with_bad_images_alone_on_one_side_is_an_error(damaged):
    with pytest.raises(ValueError, match="must have images on both sides"):
        compare_transfer(damaged, LABELS, **{**QUICK, "cv": [(np.arange(18, 30), BAD)]}, on_bad_image="skip")


def test_what_is_left_must_be_worth_a_comparison(files):
    for path in np.array(files)[LABELS == 1]:
        gone(Path(path))
    with pytest.raises(ValueError, match=r"y must hold at least two classes\. Got 1 instead"):
        compare_transfer(files, LABELS, on_bad_image="skip", **QUICK)
    for path in np.array(files)[LABELS == 0]:
        gone(Path(path))
    with pytest.raises(BadImagesError, match="30 of 30"):
        compare_transfer(files, LABELS, on_bad_image="skip", **QUICK)


def test_bad_images_are_in_text_json_and_report(damaged, tmp_path):
    comparison = compare_transfer(damaged, LABELS, on_bad_image="skip", **QUICK)
    text = " ".join(str(comparison).split())
    assert "Note: 3 of 30 images could not be read and are left out: image 4 (" in text
    content = json.loads(json.dumps(comparison.to_dict()))
    assert [bad["index"] for bad in content["bad_images"]] == list(BAD)
    assert [bad["path"] for bad in content["bad_images"]] == [damaged[i] for i in BAD]
    page = comparison.report(tmp_path / "page.html", X=damaged).read_text()
    assert all(damaged[i] in page for i in BAD)
    assert page.count("must be an image in a format") == 2  # in the note and in the list of all
    again = pickle.loads(pickle.dumps(comparison))
    assert [str(bad) for bad in again.bad_images] == [str(bad) for bad in comparison.bad_images]


def test_a_comparison_from_before_there_were_bad_images_has_none(make_comparison):
    comparison = make_comparison()
    state = comparison.__getstate__()
    del state["bad_images"]
    old = TransferComparison.__new__(TransferComparison)
    old.__dict__.update(state)
    assert old.bad_images == ()
    assert old.to_dict()["bad_images"] == []


@pytest.mark.parametrize("on_error", ["warn", "raise"])
@pytest.mark.parametrize("on_bad_image", ["skip", "raise"])
def test_a_file_that_goes_between_the_pass_and_the_fit_ends_the_comparison_and_is_named_once(
    files, on_error, on_bad_image, capsys
):
    class Deleting(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            Path(files[9]).unlink(missing_ok=True)
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.full(len(X), self.classes_[0])

    Counting.n_fits = 0
    candidates = {"deleting": Deleting(), "pixels": "pixels", "frozen": "frozen", "own": Counting()}
    options = {"candidates": candidates, "baseline": "deleting", "cv": 3, "verbose": 1}
    message = (
        r"Candidate 'pixels' failed on split 1 of 3: ImageReadError: image 9 \('.*09\.png'\): the file does not exist"
    )
    with pytest.raises(RuntimeError, match=message) as caught:
        compare_transfer(files, LABELS, on_error=on_error, on_bad_image=on_bad_image, **options)
    assert isinstance(caught.value.__cause__, ImageReadError)
    assert caught.value.__cause__.index == 9
    assert Counting.n_fits == 0
    assert "09.png" not in capsys.readouterr().out


def test_near_copies_are_kept_on_one_side_together_with_groups_of_the_users_own(files):
    copied = [*files, *files[:3]]
    y = np.concatenate([LABELS, LABELS[:3]])
    Path(files[8]).write_bytes(b"")
    comparison = compare_transfer(
        copied, y, duplicates="group", on_bad_image="skip", groups=np.arange(33) // 3, **QUICK
    )
    together = [{*range(3 * i, 3 * i + 3)} - {8} for i in range(1, 10)] + [{0, 1, 2, 30, 31, 32}]
    for train, test in comparison.splits:
        sides = set(train.tolist()), set(test.tolist())
        assert all(group <= sides[0] or group <= sides[1] for group in together)
    assert comparison.settings["groups"]
    assert comparison.settings["near_duplicates"] is None


def test_rows_that_are_no_pictures_cannot_be_grouped():
    X = np.random.default_rng(0).normal(size=(30, 3))
    own = {"linear": LogisticRegression(), "dummy": "dummy"}
    with pytest.raises(ValueError, match="X must hold images where duplicates='group'"):
        compare_transfer(X, LABELS, candidates=own, baseline="dummy", duplicates="group")


def test_the_pass_is_announced(files, capsys):
    compare_transfer(files, LABELS, **QUICK, verbose=1)
    assert capsys.readouterr().out.startswith("Looking for near duplicates among 30 images …\n")
    compare_transfer(files, LABELS, **QUICK, verbose=1, duplicates="ignore")
    assert capsys.readouterr().out.startswith("Reading 30 images …\n")


def test_near_copies_are_groups_for_a_splitter_that_needs_some(files):
    comparison = compare_transfer(files, LABELS, duplicates="group", **{**QUICK, "cv": GroupKFold(3)})
    assert len(comparison.splits) == 3
