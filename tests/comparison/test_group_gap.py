"""Folds with and without groups stand beside each other: groups as given, of copies, and as files suggest them."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    StratifiedGroupKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sktl.comparison import FitRecord, GroupGap, compare_transfer
from sktl.comparison._execution import run_all
from sktl.comparison._group_gap import _candidate, _half_width, _shuffled
from sktl.feature_extraction import PretrainedFeatureExtractor
from sktl.feature_extraction.frozen_pipeline import frozen_pipeline
from sktl.images import load_image_folder


def patients(n_patients=20, n_each=4, seed=0):
    """Photos that show the patient clearly and the class, which a coin chose, hardly."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_patients), n_each)
    own = np.kron(rng.integers(40, 215, size=(n_patients, 4, 4, 3)), np.ones((1, 8, 8, 1)))
    noise = rng.normal(0, 12, size=(len(groups), 32, 32, 3))
    return np.clip(own[groups] + noise, 0, 255).astype(np.uint8), groups % 2, groups


X, Y, GROUPS = patients()
SIMPLE = {"candidates": ["dummy", "pixels"], "baseline": "dummy", "duplicates": "ignore"}
FROZEN = SIMPLE | {"candidates": ["dummy", "frozen"]}


@pytest.fixture(scope="module")
def compared():
    return compare_transfer(X, Y, groups=GROUPS, cv=4, **SIMPLE)


def notes_on_gap(comparison):
    return [note for note in comparison.notes() if note.startswith("Folds that ignore")]


def test_folds_without_the_groups_are_scored_as_any_others(compared):
    gap, folds = compared.group_gap, _shuffled(compared.splits, Y, 0)
    assert (gap.candidate, gap.source) == ("pixels", "groups")
    assert gap.plain == pytest.approx(compare_transfer(X, Y, cv=folds, **SIMPLE).scores["pixels"].mean())
    assert gap.grouped == pytest.approx(compared.scores["pixels"].mean())
    assert gap.difference == pytest.approx(gap.plain - gap.grouped)
    assert gap.difference > 0.15
    assert gap.low > 0


@pytest.mark.parametrize("classes", [Y, GROUPS % 3, None])
def test_folds_that_ignore_groups_are_as_large_and_as_mixed_as_those_that_keep_them(classes):
    """Otherwise the less even folds of groups would score less without any leak."""
    splits = list(GroupKFold(4).split(X, Y, GROUPS))
    shuffled = _shuffled(splits, classes, seed=0)
    strata = np.zeros(len(X), dtype=int) if classes is None else classes
    for split, other in zip(splits, shuffled, strict=True):
        for part, another in zip(split, other, strict=True):
            assert np.bincount(strata[part]).tolist() == np.bincount(strata[another]).tolist()
        assert sorted([*other[0], *other[1]]) == list(range(len(X)))
        assert len(set(GROUPS[other[0]]) & set(GROUPS[other[1]])) > 5
    assert sorted(np.concatenate([test for _, test in shuffled])) == list(range(len(X)))


def test_images_that_are_never_tested_stay_in_training():
    splits = [(np.array([2, 3, 8, 9]), np.array([0, 1])), (np.array([0, 1, 8, 9]), np.array([2, 3]))]
    shuffled = _shuffled(splits, np.arange(10) % 2, seed=0)
    assert all({8, 9} <= set(train.tolist()) for train, _ in shuffled)
    assert sorted(np.concatenate([test for _, test in shuffled])) == [0, 1, 2, 3]


@pytest.mark.slow
def test_groups_without_a_meaning_are_seldom_called_a_leak(shared_data):
    folder = load_image_folder(shared_data / "datasets" / "rsscn7" / "images")
    features = PretrainedFeatureExtractor("tiny_fractal").fit_transform(folder.images)
    model, called = make_pipeline(StandardScaler(), PCA(40, random_state=0), LogisticRegression(C=0.01)), 0
    options = SIMPLE | {"candidates": {"dummy": "dummy", "linear": model}}
    for seed in range(60):
        chosen = np.random.default_rng(seed).permutation(len(features))[:150]
        order = np.lexsort((np.random.default_rng(seed).random(150), folder.target[chosen]))
        rows, y = features[chosen[order]], folder.target[chosen[order]]
        found = compare_transfer(rows, y, groups=np.arange(150) // 4, random_state=seed, **options)
        called += found.group_gap.low > 0
    assert called <= 7


def test_the_interval_is_over_groups():
    gain = np.array([1.0, 1, 0, 1, 0, 0, 0, -1, 0, 1, 1, 1])
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    means = gain.reshape(4, 3).mean(axis=1)  # of groups of one size: the ordinary interval of their means
    expected = stats.t.ppf(0.975, 3) * means.std(ddof=1) / 2
    assert _half_width(gain, groups) == pytest.approx(expected)
    assert _half_width(np.append(gain, np.nan), np.append(groups, 9)) == pytest.approx(expected)


def test_it_is_told_in_every_form(compared):
    (note,) = notes_on_gap(compared)
    gap = compared.group_gap
    assert f"give 'pixels' {gap.plain:.3f} in accuracy, {gap.difference:.3f} higher than {gap.grouped:.3f}" in note
    assert note.endswith(": that much would have been a leak.")
    assert " ".join(note.split()) in " ".join(repr(compared).split())
    assert "that much would have been a leak" in compared._repr_html_()
    told = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert told["group_gap"]["difference"] == gap.difference
    assert pickle.loads(pickle.dumps(compared)).group_gap == gap


@pytest.mark.slow
def test_it_is_told_in_the_report(compared, tmp_path):
    page = compared.report(tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("that much would have been a leak") == 1
    assert "group_gap" not in page
    assert "suggested_groups" not in page


def test_pickles_from_before_it_was_measured_have_none(compared):
    state = compared.__getstate__()
    del state["group_gap"], state["settings"]["suggested_groups"]
    old = object.__new__(type(compared))
    old.__dict__.update(state)
    assert old.group_gap is None
    assert notes_on_gap(old) == []
    assert old.to_dict()["group_gap"] is None


@pytest.mark.parametrize(
    ("gap", "end"),
    [
        (GroupGap("a", "groups", 0.80, 0.79, 0.01, -0.02, 0.04), "(95 % interval -0.020 to +0.040): no clear leak."),
        (GroupGap("a", "groups", 0.78, 0.80, -0.02, -0.05, 0.01), "0.020 lower than 0.800 with groups kept together"),
        (GroupGap("a", "groups", 0.9, 0.7, 0.2), "0.200 higher than 0.700 with groups kept together: that much would"),
        (GroupGap("a", "groups", 0.705, 0.7, 0.005), "together: no clear leak."),  # within the rope
        (GroupGap("a", "near copies", 0.9, 0.7, 0.2), "Folds that ignore near copies give 'a' 0.900"),
        (GroupGap("a", "name", 0.9, 0.7, 0.2, 0.1, 0.3), "+0.300): that much may be a leak. Both kinds of folds"),
    ],
)
def test_the_note_says_no_more_than_the_numbers(compared, gap, end):
    (note,) = notes_on_gap(replace(compared, group_gap=gap))
    assert end in note


@pytest.fixture
def fits_for_it(monkeypatch):
    """The fits that are done for the gap alone."""
    fits = []

    def recorded(*args, **kwargs):
        fits.extend(run_all(*args, **kwargs))
        return fits

    monkeypatch.setattr("sktl.comparison._group_gap.run_all", recorded)
    return fits


def test_no_image_goes_through_the_network_for_it(fits_for_it):
    comparison = compare_transfer(X, Y, groups=GROUPS, cv=4, **FROZEN)
    assert comparison.group_gap.candidate == "frozen"
    assert sum(run.n_images_through_network for run in comparison.runs_of("frozen")) == len(X)
    assert [run.n_images_through_network for run in fits_for_it] == [0] * 4


def test_the_frozen_recipe_comes_first_and_chance_level_never():
    candidates = {"chance": "dummy", "mine": "frozen", "other": "pixels"}
    options = SIMPLE | {"candidates": candidates, "baseline": "chance"}
    assert compare_transfer(X, Y, groups=GROUPS, cv=3, **options).group_gap.candidate == "mine"
    options["candidates"] = {"dummy": ON_PIXELS, "chance": "dummy"}
    assert compare_transfer(X, Y, groups=GROUPS, cv=3, **options).group_gap is None


ON_PIXELS = make_pipeline(
    FunctionTransformer(lambda images: np.asarray(images)[:, ::8, ::8].reshape(len(images), -1) / 255.0),
    LogisticRegression(),
)


def test_a_candidate_that_stores_no_features_is_not_asked_for_another_pass(fits_for_it):
    uncached = frozen_pipeline("classification").set_params(pretrainedfeatureextractor__cache=False)
    options = SIMPLE | {"candidates": {"dummy": "dummy", "frozen": uncached}}
    assert compare_transfer(X, Y, groups=GROUPS, cv=3, **options).group_gap is None
    assert fits_for_it == []


@pytest.mark.parametrize(
    ("cache", "size", "chosen"), [(True, "1GB", "frozen"), (True, "0", "pixels"), (False, "1GB", "pixels")]
)
def test_the_choice_does_not_depend_on_how_many_fits_ran_at_once(monkeypatch, cache, size, chosen):
    """Fits at once find the store empty, each of them; what counts is that it has all of it afterwards."""
    monkeypatch.setenv("SKTL_CACHE_SIZE", size)
    frozen = frozen_pipeline("classification").set_params(pretrainedfeatureextractor__cache=cache)
    runs = [
        FitRecord(name, split, {"accuracy": score}, n_images_through_network=n)
        for name, score, n in (("frozen", 0.6, 40), ("pixels", 0.7, None))
        for split in range(3)
    ]
    recipes = {"frozen": "frozen", "pixels": "pixels"}
    assert _candidate(runs, {"frozen": frozen, "pixels": ON_PIXELS}, recipes, "accuracy", 3) == chosen


@pytest.mark.parametrize(
    ("cv", "n_repeats", "n_folds"),
    [(3, 2, 3), (StratifiedGroupKFold(5), 1, 5), (GroupKFold(4), 1, 4)],
)
def test_folds_of_one_go_are_shuffled(cv, n_repeats, n_folds):
    comparison = compare_transfer(X, Y, groups=GROUPS, cv=cv, n_repeats=n_repeats, **SIMPLE)
    plain = compare_transfer(X, Y, cv=_shuffled(comparison.splits[:n_folds], Y, 0), **SIMPLE)
    assert comparison.group_gap.plain == pytest.approx(plain.scores["pixels"].mean())
    assert comparison.group_gap.grouped == pytest.approx(comparison.scores["pixels"].mean())


def test_splits_that_are_no_folds_and_groups_of_one_have_none():
    shuffled = GroupShuffleSplit(3, random_state=0)
    assert compare_transfer(X, Y, groups=GROUPS, cv=shuffled, **SIMPLE).group_gap is None
    assert compare_transfer(X, Y, groups=np.arange(len(X)), cv=3, **SIMPLE).group_gap is None
    assert compare_transfer(X, Y, cv=3, **SIMPLE).group_gap is None


def test_numbers_have_no_interval():
    y = GROUPS % 7 + np.random.default_rng(0).random(len(X))
    gap = compare_transfer(X, y, groups=GROUPS, cv=4, **SIMPLE).group_gap
    assert (gap.low, gap.high) == (None, None)
    assert gap.difference > 0.2


def test_near_copies_kept_together_are_compared_with_folds_that_are_not():
    copied = np.concatenate([X[::4], np.clip(1.05 * X[::4], 0, 255).astype(np.uint8)])
    y = np.tile(np.random.default_rng(1).permutation(20) % 2, 2)
    gap = compare_transfer(copied, y, cv=4, **SIMPLE | {"duplicates": "group"}).group_gap
    assert gap.source == "near copies"
    assert gap.difference > 0.1


@pytest.fixture
def named(tmp_path):
    paths = [str(tmp_path / f"p{patient:03}_{view % 4}.png") for view, patient in enumerate(GROUPS)]
    for path, picture in zip(paths, X, strict=True):
        Image.fromarray(picture).save(path)
    return paths


def test_groups_that_files_suggest_are_noted_and_measured(named, capsys):
    comparison = compare_transfer(named, Y, cv=4, verbose=1, **SIMPLE)
    note = comparison.settings["suggested_groups"]
    assert note in comparison.notes()
    assert f"Note: {note}\n" in capsys.readouterr().out
    assert "80 of 80 files share the beginning of their name with others, 'p000_0.png' and 'p000_1.png'" in note
    assert "groups=suggested_groups(X, y, by='name'), which is in sktl.near_duplicates" in note
    assert "--groups name" in note
    gap, grouped = comparison.group_gap, compare_transfer(named, Y, groups=GROUPS, cv=4, **SIMPLE)
    assert gap.source == "name"
    assert gap.grouped == pytest.approx(grouped.scores["pixels"].mean())
    assert gap.plain == pytest.approx(grouped.group_gap.plain)
    assert gap.low == pytest.approx(grouped.group_gap.low)
    assert "that much may be a leak" in notes_on_gap(comparison)[0]
    assert grouped.settings["suggested_groups"] is None


def test_suggested_groups_that_allow_no_folds_are_noted_all_the_same(named):
    comparison = compare_transfer(named, Y, cv=25, **SIMPLE)  # of 20 patients
    assert comparison.settings["suggested_groups"] is not None
    assert comparison.group_gap is None


def test_what_was_measured_is_kept_in_the_file_of_fits(tmp_path, monkeypatch):
    file = tmp_path / "fits.jsonl"
    first = compare_transfer(X, Y, groups=GROUPS, cv=3, resume=file, **SIMPLE)
    monkeypatch.setattr("sktl.comparison._execution.fit_and_score", None)  # nothing is left to do
    assert compare_transfer(X, Y, groups=GROUPS, cv=3, resume=file, **SIMPLE).group_gap == first.group_gap


@pytest.mark.slow
def test_neither_scores_nor_jobs_depend_on_it():
    one = compare_transfer(X, Y, groups=GROUPS, cv=3, **SIMPLE)
    two = compare_transfer(X, Y, groups=GROUPS, cv=3, n_jobs=2, **SIMPLE)
    assert two.group_gap == one.group_gap
    assert two.scores["pixels"].tolist() == one.scores["pixels"].tolist()
