import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl._splits import fixed_random_state, make_seeds, make_splits
from sktl.comparison._fitting import set_seeds
from sktl.images import take_rows

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.tile(["a", "b", "c"], 20)
PATIENTS = np.array([f"p{number // 4}" for number in range(60)])


def splits_of(**changes):
    options = {"cv": 5, "n_repeats": 1, "groups": None, "task": "classification", "random_state": 0} | changes
    return make_splits(X, options.pop("y", Y), **options)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (["a.png", "b.png", "c.png"], ["c.png", "a.png"]),
        (("a.png", "b.png", "c.png"), ["c.png", "a.png"]),
        (np.array(["a.png", "b.png", "c.png"]), ["c.png", "a.png"]),
        (pd.Series(["a.png", "b.png", "c.png"], index=[7, 8, 9]), ["c.png", "a.png"]),
        (pl.Series(["a.png", "b.png", "c.png"]), ["c.png", "a.png"]),
        (torch.tensor([1, 2, 3]), [3, 1]),
    ],
    ids=["list", "tuple", "array", "pandas", "polars", "tensor"],
)
def test_rows_are_taken_from_every_kind_of_X(X, expected):
    taken = take_rows(X, np.array([2, 0]))
    assert list(taken) == expected
    if not isinstance(X, tuple):
        assert type(taken) is type(X)


def test_rows_of_frames_and_pictures_keep_their_kind():
    frame = take_rows(pd.DataFrame({"path": ["a.png", "b.png"]}), np.array([1]))
    assert frame["path"].tolist() == ["b.png"]
    pictures = [Image.new("RGB", (2, 2)), Image.new("RGB", (3, 3))]
    assert take_rows(pictures, np.array([1])) == [pictures[1]]


def test_every_split_has_a_seed_of_its_own():
    seeds = make_seeds(0, "fit", 50)
    assert len({*seeds, *make_seeds(0, "shuffle", 50), *make_seeds(1, "fit", 50)}) == 150
    assert seeds[:3] == make_seeds(0, "fit", 3)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_random_state_of_any_kind_becomes_a_number():
    assert fixed_random_state(np.int64(3)) == 3
    assert fixed_random_state(np.random.RandomState(0)) == fixed_random_state(np.random.RandomState(0))
    assert isinstance(fixed_random_state(None), int)


def test_seeds_reach_nested_estimators_and_nothing_else():
    model = make_pipeline(StandardScaler(), GridSearchCV(RandomForestClassifier(), {"max_depth": [1, 2]}))
    before = model.get_params()
    after = set_seeds(clone(model), 42).get_params()
    changed = {name for name in before if repr(before[name]) != repr(after[name]) and not hasattr(before[name], "fit")}
    assert changed - {"steps"} == {"gridsearchcv__estimator__random_state"}
    assert after["gridsearchcv__estimator__random_state"] == 42


def test_an_estimator_that_does_not_return_itself_is_seeded_too():
    frozen = FrozenEstimator(RandomForestClassifier())
    assert set_seeds(frozen, 42) is frozen


def test_folds_are_stratified_shuffled_and_cover_every_image_once():
    splits = splits_of()
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(60))
    assert all(np.unique(Y[test], return_counts=True)[1].tolist() == [4, 4, 4] for _, test in splits)
    assert any(np.diff(np.sort(test)).max() > 3 for _, test in splits)


def test_repeats_draw_other_folds():
    splits = splits_of(n_repeats=3)
    assert len(splits) == 15
    assert len({tuple(test) for _, test in splits}) == 15


def test_folds_depend_on_random_state_only():
    first, again, other = splits_of(), splits_of(), splits_of(random_state=1)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("task", "y"), [("classification", Y), ("regression", np.arange(60.0))])
def test_groups_stay_together(task, y):
    groups = np.arange(60) // 4
    for train, test in splits_of(groups=groups, task=task, y=y):
        assert not set(groups[train]) & set(groups[test])


def test_splitters_iterables_and_masks_are_taken_as_they_are():
    assert len(splits_of(cv=ShuffleSplit(7, random_state=0))) == 7
    assert len(splits_of(cv=GroupShuffleSplit(3, random_state=0), groups=np.arange(60) // 4)) == 3
    mask = np.arange(60) < 40
    ((train, test),) = splits_of(cv=[(mask, ~mask)])
    assert (train.tolist(), test.tolist()) == (list(range(40)), list(range(40, 60)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cv": [([0, 1, 2], [2, 3])]}, "Split 0 shares 1, the first at index 2"),
        ({"cv": [([0, 1, 2], [])]}, "images on both sides"),
        ({"cv": []}, "at least one split"),
        ({"cv": ShuffleSplit(3), "n_repeats": 2}, "n_repeats must be 1 unless cv is an int"),
        ({"cv": [([0, 1, 2], [-58])]}, "Split 0 shares 1, the first at index 2"),
        ({"cv": [([0, 1], [2]), ([0, 1], [60])]}, "indices of the 60 images. Got something else in split 1"),
        ({"cv": StratifiedKFold(4), "groups": PATIENTS}, "Split 0 has the group 'p.*' on both.* StratifiedGroupKFold"),
        ({"cv": [([0, 1], [4]), ([4, 8], [9])], "groups": PATIENTS.tolist()}, "Split 1 has the group 'p2' on both"),
    ],
)
@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
def test_splits_that_cheat_or_are_empty_are_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        splits_of(**changes)


def test_indices_from_the_end_name_the_images_that_they_mean():
    ((train, test),) = splits_of(cv=[([0, 1, 2], [-1, -2])])
    assert (train.tolist(), test.tolist()) == ([0, 1, 2], [59, 58])
