import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib import parallel_config
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor
from sktl.comparison._runs import fixed_random_state, make_seeds, make_splits, run_all, set_seeds, take
from sktl.exceptions import ImageReadError
from sktl.images import as_images, load_image_folder

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.tile(["a", "b", "c"], 20)
PATIENTS = np.array([f"p{number // 4}" for number in range(60)])


def splits_of(**changes):
    options = {"cv": 5, "n_repeats": 1, "groups": None, "task": "classification", "random_state": 0} | changes
    return make_splits(X, options.pop("y", Y), **options)


class Stumbling(ClassifierMixin, BaseEstimator):
    """A classifier that fails on purpose."""

    def __init__(self, error=None, random_state=None):
        self.error = error
        self.random_state = random_state

    def fit(self, X, y):
        if self.error is not None:
            raise self.error
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


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
    taken = take(X, np.array([2, 0]))
    assert list(taken) == expected
    if not isinstance(X, tuple):
        assert type(taken) is type(X)


def test_rows_of_frames_and_pictures_keep_their_kind():
    frame = take(pd.DataFrame({"path": ["a.png", "b.png"]}), np.array([1]))
    assert frame["path"].tolist() == ["b.png"]
    pictures = [Image.new("RGB", (2, 2)), Image.new("RGB", (3, 3))]
    assert take(pictures, np.array([1])) == [pictures[1]]


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


class Reader(ClassifierMixin, BaseEstimator):
    """Reads every image, in fit or in predict."""

    def __init__(self, reads_in="fit"):
        self.reads_in = reads_in

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self._read(X, "fit")

    def predict(self, X):
        self._read(X, "predict")
        return np.full(len(X), self.classes_[0])

    def _read(self, X, method):
        if self.reads_in == method:
            images = as_images(X)
            for i in range(len(images)):
                images.digest(i)
                images.subset([i]).learn_value_range()
        return self


@pytest.mark.parametrize("reads_in", ["fit", "predict"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_unreadable_array_is_named_by_its_place_in_the_X_that_was_passed(reads_in, n_jobs):
    images = [np.full((5, 5), number / 20) for number in range(20)]
    images[13] = np.full((5, 5), np.nan)
    folds = [(np.arange(1, 20, 2), np.arange(0, 20, 2)), (np.arange(0, 20, 2), np.arange(1, 20, 2))]
    options = {"splits": folds, "seeds": [0, 0], "scorer": get_scorer("accuracy"), "n_jobs": n_jobs, "verbose": 0}
    split = {"fit": 1, "predict": 2}[reads_in]
    message = rf"'reader' failed on split {split} of 2: .*image 13: "
    # In threads: whether another process can import the class above depends on how the tests were started.
    with parallel_config("threading"), pytest.raises(RuntimeError, match=message) as caught:
        run_all({"reader": Reader(reads_in)}, images, np.arange(20) // 2 % 2, **options)
    assert isinstance(caught.value.__cause__, ImageReadError)
    assert caught.value.__cause__.index == 13


@pytest.mark.parametrize("reads_in", ["fit", "predict"])
@pytest.mark.parametrize("kind", [list, np.array, pd.Series, lambda paths: pd.DataFrame({"path": paths})])
def test_an_unreadable_file_is_named_by_its_place_and_its_path(reads_in, kind, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (5, 5), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "b" / "3.png").write_bytes(b"no picture")
    photos = load_image_folder(tmp_path)
    folds = [(np.arange(1, 12, 2), np.arange(0, 12, 2)), (np.arange(0, 12, 2), np.arange(1, 12, 2))]
    reader = PretrainedFeatureExtractor() if reads_in == "fit" else None
    model = make_pipeline(reader, StandardScaler(), SGDClassifier()) if reader else LastMinute()
    options = {"splits": folds, "seeds": [0, 0], "scorer": get_scorer("accuracy"), "n_jobs": 1, "verbose": 0}
    with pytest.raises(RuntimeError, match=r"image 9 \('.*3\.png'\): ") as caught:
        run_all({"reader": model}, kind(list(photos.images)), photos.target, **options)
    cause = caught.value.__cause__
    assert (cause.index, cause.path) == (9, str(tmp_path / "b" / "3.png"))
    assert "format that Pillow reads" in cause.reason


class LastMinute(ClassifierMixin, BaseEstimator):
    """Reads images in predict only."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        PretrainedFeatureExtractor().fit(X).transform(X)
        return np.full(len(X), self.classes_[0])


def test_a_place_in_a_part_of_the_part_is_not_passed_off_as_one_in_X(tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(12)]
    for path in paths:
        Image.new("RGB", (5, 5)).save(path)
    (tmp_path / "9.png").write_bytes(b"no picture")
    inner = make_pipeline(PretrainedFeatureExtractor(), SGDClassifier())
    search = GridSearchCV(inner, {"sgdclassifier__alpha": [0.1]}, cv=2, error_score="raise")
    options = {"splits": [(np.r_[0:6, 7:12], np.array([6]))], "seeds": [0], "scorer": get_scorer("accuracy")}
    with pytest.raises(RuntimeError, match=r"ImageReadError: the image \('.*9\.png'\)"):
        run_all({"search": search}, paths, np.arange(12) % 2, n_jobs=1, verbose=0, **options)


def run(estimators, n_jobs=None, verbose=0, scoring="accuracy"):
    splits = splits_of(cv=3)
    seeds = make_seeds(0, "fit", 3)
    return run_all(
        estimators, X, Y, splits=splits, seeds=seeds, scorer=get_scorer(scoring), n_jobs=n_jobs, verbose=verbose
    )


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_failing_candidate_is_named_with_its_split_and_its_error(n_jobs):
    with pytest.raises(RuntimeError, match=r"Candidate 'bad' failed on split 1 of 3: .*'alpha'") as caught:
        run({"good": SGDClassifier(), "bad": SGDClassifier(alpha=-1)}, n_jobs=n_jobs)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        run({"slow": Stumbling(KeyboardInterrupt())})


def test_a_score_that_is_not_a_number_is_an_error():
    def never(estimator, X, y):
        return float("nan")

    with pytest.raises(RuntimeError, match=r"'good' failed on split 1 of 3: its score must be a finite number"):
        run_all({"good": Stumbling()}, X, Y, splits=splits_of(cv=3), seeds=[0] * 3, scorer=never, n_jobs=1, verbose=0)


def test_estimators_passed_in_stay_unfitted_and_unseeded():
    forest = RandomForestClassifier(5)
    run({"forest": forest, "other": Stumbling()})
    assert forest.random_state is None
    assert not hasattr(forest, "estimators_")


def test_progress_is_one_line_per_fit(capsys):
    run({"one": Stumbling(), "three": Stumbling()}, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("split 1/3  one    score 0.3500  ")
    assert lines[0].endswith(" s")
