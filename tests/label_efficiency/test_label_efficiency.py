"""Label-efficiency curves: nested subsets, the same test images, and labels saved that can be checked by hand."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB

from sktl._statistics import corrected_interval
from sktl.comparison import compare_transfer
from sktl.comparison._warnings import CandidateFailedWarning
from sktl.label_efficiency._label_efficiency import label_efficiency
from sktl.label_efficiency._labels_needed import isotonic_fit
from sktl.label_efficiency._result import LabelEfficiency, LabelsSaved
from sktl.label_efficiency._subsets import check_sizes, subset_splits
from sktl.reports._label_efficiency_summary import sentence

TWO = {"bayes": GaussianNB(), "linear": LogisticRegression(max_iter=1000)}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200], y[:200]


def run(X, y, **options):
    options = {"candidates": TWO, "baseline": "linear", "duplicates": "ignore", "cv": 4, **options}
    return label_efficiency(X, y, **options)


def record(curves, n_labels=(20, 40, 80), *, n_splits=5, noise=0.01, baseline="from_scratch", **changes):
    generator = np.random.default_rng(0)
    n_train = np.array(n_labels)[:, None].repeat(n_splits, axis=1)
    scores = {
        name: np.array(curve)[:, None] + noise * generator.standard_normal((len(curve), n_splits))
        for name, curve in curves.items()
    }
    options = {
        "sizes": tuple(n_labels),
        "n_train": n_train,
        "n_all": n_train[-1],
        "n_test": np.full(n_splits, 20),
        "fit_seconds": {name: np.ones_like(values) for name, values in scores.items()},
        "predict_seconds": {name: np.ones_like(values) for name, values in scores.items()},
        "seeds": n_train,
        "scoring": "accuracy",
        "transfer": {name: name in ("frozen", "fine_tuned") for name in scores},
        "failures": {},
        "settings": {},
    }
    return LabelEfficiency(scores=scores, baseline=baseline, **options | changes)


# ---- sizes and subsets


def test_subsets_are_nested_and_the_test_images_stay():
    splits = [(np.arange(30, 100), np.arange(30)), (np.arange(70), np.arange(70, 100))]
    y = np.arange(100) % 3
    sizes, nested = subset_splits(splits, y, (0.5, 6, 1.0), stratify=True, seeds=[1, 2])
    assert sizes == (6, 0.5, 1.0)
    for (all_train, all_test), row in zip(splits, nested, strict=True):
        assert [len(train) for train, _ in row] == [6, 35, 70]
        for (train, test), (larger, _) in zip(row, [*row[1:], (all_train, None)], strict=True):
            assert set(train) <= set(larger)
            np.testing.assert_array_equal(test, all_test)


def test_a_fraction_is_of_the_images_that_each_split_has():
    splits = [(np.arange(20, 100), np.arange(20)), (np.arange(40), np.arange(40, 100))]
    _, nested = subset_splits(splits, np.arange(100) % 2, (0.5, 1.0), stratify=True, seeds=[1, 2])
    assert [[len(train) for train, _ in row] for row in nested] == [[40, 80], [20, 40]]


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ("all", TypeError, "must be a sequence"),
        (50, TypeError, "must be a sequence"),
        ((), ValueError, "at least one size"),
        ((1,), ValueError, "ints of at least 2"),
        ((True,), ValueError, "ints of at least 2"),
        ((0.5, 1.5), ValueError, "Got 1.5 instead"),
        ((0.0,), ValueError, "Got 0.0 instead"),
        (("half",), ValueError, "Got 'half' instead"),
    ],
)
def test_sizes_that_are_none(sizes, error, message):
    with pytest.raises(error, match=message):
        check_sizes(sizes)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((10, 151), r"which are 150. Got 151 instead"),
        ((0.005,), "at least 2 training images. Got 0.005 of 150"),
        ((75, 0.5), "75 and 0.5, which are 75 labels and 75"),
        ((0.1, 0.101), "0.1 and 0.101, which are 15 labels and 15"),
    ],
)
def test_sizes_that_do_not_fit_the_splits(digits, sizes, message):
    with pytest.raises(ValueError, match=message):
        run(*digits, sizes=sizes)


# ---- the whole


def test_scores_are_those_of_fits_by_hand(digits):
    """Gaussian naive Bayes draws no random numbers, so plain fits on the same subsets must agree."""
    X, y = digits
    result = run(X, y, sizes=(20, 0.5, 1.0), random_state=3)
    assert result.n_labels.tolist() == [20, 75, 150]
    assert result.sizes == (20, 0.5, 1.0)
    from sktl._splits import make_seeds, make_splits

    splits = make_splits(X, y, cv=4, n_repeats=1, groups=None, task="classification", random_state=3)
    seeds = make_seeds(3, "fit", 16)[-4:]
    _, nested = subset_splits(splits, y, (20, 0.5, 1.0), stratify=True, seeds=seeds)
    for split, row in enumerate(nested):
        for size, (train, test) in enumerate(row):
            expected = GaussianNB().fit(X[train], y[train]).score(X[test], y[test])
            assert result.scores["bayes"][size, split] == expected


def test_the_largest_size_is_the_comparison_on_all_images(digits):
    from sktl import compare_transfer

    options = {"candidates": TWO, "baseline": "linear", "duplicates": "ignore", "cv": 4}
    whole = compare_transfer(*digits, **options)
    np.testing.assert_array_equal(run(*digits, sizes=(0.3, 1.0)).scores["bayes"][-1], whole.scores["bayes"])


def test_a_second_run_is_the_same_and_another_seed_another(digits):
    one, two, other = (run(*digits, sizes=(12, 0.5), random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.scores["bayes"], two.scores["bayes"])
    assert (one.scores["bayes"] != other.scores["bayes"]).any()


def test_recipes_with_and_without_transfer(digits):
    X, y = digits
    result = label_efficiency(
        X[:60], y[:60], sizes=(20, 1.0), cv=2, value_range=(0, 16), max_epochs=1, duplicates="ignore"
    )
    assert result.candidates == ["frozen", "fine_tuned", "from_scratch"]
    assert result.transfer == {"frozen": True, "fine_tuned": True, "from_scratch": False}
    assert result.headline.candidate == "frozen"
    assert result.headline.baseline == "from_scratch"


def test_groups_stay_on_one_side(digits):
    X, y = digits
    groups = np.arange(200) // 4
    run(X, y, sizes=(0.5,), groups=groups)
    with pytest.raises(ValueError, match="Images of one group"):
        run(X, y, sizes=(0.5,), groups=groups, cv=[(range(2, 200), [0, 1])])


def test_numbers_as_labels(digits):
    X, y = digits
    candidates = {"ridge": Ridge(), "mean": DummyRegressor()}
    options = {"candidates": candidates, "baseline": "mean", "task": "regression"}
    result = run(X, y, sizes=(0.5, 1.0), scoring="neg_mean_absolute_error", **options)
    assert result.scoring == "neg_mean_absolute_error"
    assert (result.scores["ridge"].mean(axis=1) > result.scores["mean"].mean(axis=1)).all()


class FailsOnFew(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        if len(X) < 30:
            raise RuntimeError("too few")
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def test_a_candidate_that_fails_is_left_out_and_named(digits):
    with pytest.warns(CandidateFailedWarning, match="too few"):
        result = run(*digits, sizes=(20, 0.5), candidates={"few": FailsOnFew(), **TWO})
    assert result.candidates == ["bayes", "linear"]
    assert "'few' failed and is left out: RuntimeError: too few" in " ".join(repr(result).split())


def test_finished_fits_are_taken_from_the_file(digits, tmp_path, capsys):
    one = run(*digits, sizes=(12, 0.5), resume=tmp_path / "fits.jsonl")
    two = run(*digits, sizes=(12, 0.5, 1.0), resume=tmp_path / "fits.jsonl", verbose=1)
    assert two.scores["bayes"].shape == (3, 4)
    assert one.scores.keys() == two.scores.keys()
    again = run(*digits, sizes=(12, 0.5), resume=tmp_path / "fits.jsonl", verbose=1)
    assert "16 of 16 fits were finished before" in capsys.readouterr().out
    np.testing.assert_array_equal(one.fit_seconds["bayes"], again.fit_seconds["bayes"])


def test_fewer_labels_than_classes_are_said(digits):
    assert "fewer labels than there are classes" in " ".join(repr(run(*digits, sizes=(5, 1.0))).split())
    assert "fewer labels than" not in repr(run(*digits, sizes=(10, 1.0)))


def test_frame_has_a_row_for_every_fit(digits):
    result = run(*digits, sizes=(12, 0.5))
    frame = result.frame()
    assert frame.shape == (2 * 2 * 4, 8)
    row = frame[(frame.candidate == "bayes") & (frame["size"] == 0.5) & (frame.split == 2)].iloc[0]
    assert (row.score, row.n_train, row.seed) == (result.scores["bayes"][1, 2], 75, result.seeds[1, 2])


# ---- labels saved


def test_labels_saved_of_two_known_curves():
    result = record({"frozen": [0.5, 0.7, 0.8], "from_scratch": [0.3, 0.5, 0.7]}, noise=0)
    first, second, last = result.labels_saved()
    assert (first.needed, first.saved, first.factor) == pytest.approx((40, 20, 2))
    assert (second.needed, second.saved) == pytest.approx((80, 40))
    assert last.needed == np.inf
    assert last.saved == 0
    assert last.is_bound
    turned = result.labels_saved("from_scratch", baseline="frozen")
    assert turned[0].needed == 0
    assert turned[1].needed == pytest.approx(20)
    assert turned[1].verdict == "costs labels"


def test_on_a_plateau_the_labels_at_which_it_begins_count():
    result = record({"frozen": [0.5, 0.8, 0.8, 0.8], "from_scratch": [0.3, 0.5, 0.8, 0.8]}, (20, 40, 80, 160), noise=0)
    saved = result.labels_saved()
    assert [one.own_needed for one in saved] == pytest.approx([20, 40, 40, 40])
    assert [one.needed for one in saved] == pytest.approx([40, 80, 80, 80])
    assert [one.saved for one in saved] == pytest.approx([20, 40, 40, 40])
    assert [one.factor for one in saved] == pytest.approx([2, 2, 2, 2])
    assert {one.verdict for one in saved} == {"saves labels"}
    assert result.headline.n_labels == 40
    assert "with 160 labels 'frozen' scores 0.800 (it has that from 40 on); for that" in sentence(saved[-1])


def test_the_score_of_a_curve_that_dips_is_that_of_the_rising_one():
    result = record({"frozen": [0.5, 0.8, 0.7, 0.9], "from_scratch": [0.3, 0.5, 0.75, 0.8]}, (20, 40, 80, 160), noise=0)
    saved = result.labels_saved()
    assert [one.score for one in saved] == pytest.approx(isotonic_fit([0.5, 0.8, 0.7, 0.9]).tolist())
    assert [one.own_needed for one in saved] == pytest.approx([20, 40, 40, 160])
    assert [one.needed for one in saved] == pytest.approx([40, 80, 80, np.inf])


@pytest.mark.slow
@pytest.mark.parametrize("curve", [(0.97, 0.999, 0.9995, 0.9995), (0.9, 0.99, 0.995, 0.995), (0.5, 0.5, 0.5, 0.5)])
def test_two_candidates_with_one_true_curve_rarely_get_a_verdict(curve):
    """Five folds of 40 test images; the larger sizes of the first two curves are saturated."""
    generator = np.random.default_rng(1)
    headlines, sizes = [], []
    for _ in range(60):
        frozen, scratch = generator.binomial(40, curve, (2, 5, 4)).transpose(0, 2, 1) / 40
        curves = {"frozen": np.zeros(4), "from_scratch": np.zeros(4)}
        result = record(curves, (20, 40, 80, 160), noise=0, n_test=np.full(5, 40))
        result.scores.update({"frozen": frozen, "from_scratch": scratch})
        headlines.append(result.headline.verdict)
        sizes += [one.verdict for one in result.labels_saved(n_draws=500)]
    assert sum(verdict != "undecided" for verdict in headlines) <= 3
    assert sum(verdict != "undecided" for verdict in sizes) <= 12  # of 240: 5 %


@pytest.mark.parametrize("verdict", ["saves labels", "costs labels"])
def test_a_real_difference_before_saturation_is_found(verdict):
    early, late = [0.98, 0.995, 0.995, 0.995], [0.8, 0.9, 0.98, 0.995]
    curves = (early, late) if verdict == "saves labels" else (late, early)
    result = record(dict(zip(("frozen", "from_scratch"), curves, strict=True)), (20, 40, 80, 160), noise=0.003)
    assert verdict in {one.verdict for one in result.labels_saved()}
    assert len({one.verdict for one in result.labels_saved()} - {"undecided"}) == 1


def test_intervals_follow_the_spread_and_the_verdict_follows_them():
    curves = {"frozen": [0.6, 0.7, 0.8], "from_scratch": [0.4, 0.62, 0.8]}
    sharp, vague = (record(curves, noise=noise).labels_saved()[0] for noise in (0.001, 0.2))
    assert sharp.verdict == "saves labels"
    assert sharp.low < sharp.needed < sharp.high
    assert vague.verdict == "undecided"
    assert vague.low < sharp.low
    assert vague.high > sharp.high
    again = record(curves, noise=0.2).labels_saved()[0]
    assert vague == again


def test_one_split_gives_no_interval():
    result = record({"frozen": [0.5, 0.7, 0.8], "from_scratch": [0.3, 0.5, 0.7]}, n_splits=1, noise=0)
    one = result.labels_saved()[0]
    assert one.needed == pytest.approx(40)
    assert np.isnan([one.low, one.high]).all()
    assert one.verdict == "undecided"
    assert "interval 40" not in repr(result)


def test_wrong_names_are_refused_with_a_hint():
    result = record({"frozen": [0.5, 0.7, 0.8], "from_scratch": [0.3, 0.5, 0.7]})
    with pytest.raises(ValueError, match="Did you mean 'frozen'"):
        result.labels_saved("frozn")
    with pytest.raises(ValueError, match="must be different"):
        result.labels_saved("from_scratch")
    with pytest.raises(ValueError, match="must be one of"):
        result.interval("mine")


@pytest.mark.parametrize(
    ("curves", "size"),
    [
        ({"frozen": [0.5, 0.68, 0.9], "from_scratch": [0.3, 0.5, 0.7]}, 40),  # the last one is a bound
        ({"frozen": [0.8, 0.85, 0.9], "from_scratch": [0.3, 0.5, 0.7]}, 20),  # all are: the first says most
        ({"frozen": [0.1, 0.15, 0.2], "from_scratch": [0.3, 0.5, 0.7]}, 80),  # below: the last does
    ],
)
def test_the_headline_is_the_largest_size_with_a_full_answer(curves, size):
    assert record(curves, noise=0.001).headline.n_labels == size


def test_the_headline_is_one_with_a_verdict_where_a_size_has_one_for_sure():
    late, early = [0.8, 0.9, 0.98, 0.995], [0.98, 0.995, 0.995, 0.995]
    result = record({"frozen": late, "from_scratch": early}, (20, 40, 80, 160), noise=0.003)
    assert result.labels_saved()[-1].verdict == "undecided"
    assert result.headline.verdict == "costs labels"


def test_without_transfer_there_is_no_headline():
    assert record({"bayes": [0.5, 0.7, 0.8], "from_scratch": [0.3, 0.5, 0.7]}).headline is None


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((40, 0.81, 95, 60, 130), "'from_scratch' needs 95 (95 % interval 60 to 130): 55 saved."),
        (
            (40, 0.81, np.inf, 90, np.inf),
            "needs more than 160 (95 % interval 90 to more than 160): at least 120 saved.",
        ),
        ((40, 0.81, np.inf, np.inf, np.inf), "needs more than 160 (95 % interval the same): at least 120 saved."),
        ((80, 0.81, 30, 0, 40), "needs 30 (95 % interval fewer than 20 to 40): 50 fewer."),
        ((80, 0.81, 0, 0, 25), "needs fewer than 20 (95 % interval fewer than 20 to 25): at least 60 fewer."),
        ((40, 0.81, 95, np.nan, np.nan), "'from_scratch' needs 95: 55 saved."),
        ((160, 0.81, np.inf, 150, np.inf), "needs more than 160 (95 % interval 150 to more than 160)."),
    ],
)
def test_the_sentence_names_the_labels_or_their_bound(numbers, words):
    n_labels, score, *needed = numbers
    saved = LabelsSaved("frozen", "from_scratch", n_labels, score, n_labels, *needed, np.nan, np.nan, 20, 160)
    assert sentence(saved).endswith(words)
    assert f"with {numbers[0]} labels 'frozen' scores 0.810; for that" in sentence(saved)


@pytest.mark.parametrize(("last", "is_said"), [(0.1, True), (0.4, False)])
def test_a_baseline_at_chance_level_is_said_to_be(last, is_said):
    result = record({"dummy": [0.1, 0.1, 0.1], "frozen": [0.5, 0.7, 0.8], "from_scratch": [0.1, 0.1, last]}, noise=0.02)
    assert ("not clearly better than chance level" in " ".join(repr(result).split())) == is_said


def test_text_holds_every_mean_and_html_escapes_names():
    result = record({"frozen": [0.5, 0.7, 0.8], "<b>&": [0.3, 0.5, 0.7]}, baseline="<b>&", noise=0.01)
    for name in result.candidates:
        for mean in result.scores[name].mean(axis=1):
            assert f"{mean:.3f} (" in repr(result)
    assert "<b>&" not in result._repr_html_()
    assert "&lt;b&gt;&amp;" in result._repr_html_()


def test_interval_is_the_corrected_one():
    result = record({"frozen": [0.5, 0.7, 0.8], "from_scratch": [0.3, 0.5, 0.7]})
    expected = [corrected_interval(row, 80, 20) for row in result.scores["frozen"]]
    np.testing.assert_allclose(result.interval("frozen"), expected)


@pytest.mark.parametrize(
    ("settings", "bounds"), [({}, (0, 1)), ({"score_bounds": {"accuracy": (0, np.inf)}}, (0, np.inf))]
)
def test_intervals_end_where_a_score_ends(settings, bounds):
    curves = {"frozen": [0.93, 0.96, 0.97], "from_scratch": [0.05, 0.5, 0.7]}
    result = record(curves, noise=0.02, n_splits=3, settings=settings)
    for name, scores in result.scores.items():
        uncut = np.array([corrected_interval(row, 80, 20) for row in scores])
        np.testing.assert_allclose(result.interval(name), np.clip(uncut, *bounds))
    assert result.interval("frozen").max() == 1 if bounds[1] == 1 else result.interval("frozen").max() > 1
    assert result.interval("from_scratch").min() == 0


def test_text_html_frame_and_bands_have_the_ends_of_the_same_interval():
    pytest.importorskip("matplotlib")
    result = record({"frozen": [0.93, 0.96, 0.97], "from_scratch": [0.05, 0.5, 0.7]}, noise=0.02, n_splits=3)
    text, display = repr(result), result.plot()
    assert "±" not in text
    assert "±" not in result._repr_html_()
    for band, name in zip(display.ax_.collections, result.candidates, strict=True):
        for mean, (low, high) in zip(result.scores[name].mean(axis=1), result.interval(name), strict=True):
            cell = f"{mean:.3f} ({low:.3f} to {high:.3f})"
            assert cell in text
            assert cell in result._repr_html_()
        drawn = band.get_paths()[0].vertices[:, 1]
        assert (drawn.min(), drawn.max()) == (result.interval(name).min(), result.interval(name).max())


# ---- the comparison at one size


def test_the_comparison_at_a_size_has_the_fits_that_a_comparison_by_hand_makes(digits):
    X, y = digits
    result = run(X, y, sizes=(20, 1.0), random_state=3)
    for place, size in enumerate(result.sizes):
        found = result.comparison_at(size)
        assert found.scores.keys() == result.scores.keys()
        for name, scores in found.scores.items():
            np.testing.assert_array_equal(scores, result.scores[name][place])
        assert [len(train) for train, _ in found.splits] == result.n_train[place].tolist()
        assert list(found.seeds) == result.seeds[place].tolist()
        by_hand = compare_transfer(
            X, y, candidates=TWO, baseline="linear", duplicates="ignore", cv=list(found.splits), random_state=0
        )
        rows = zip(found.rows(), by_hand.rows(), strict=True)
        assert [(one.mean, one.low, one.verdict) for one, _ in rows] == [
            (one.mean, one.low, one.verdict) for one in by_hand.rows()
        ]
        for run_found, run_by_hand in zip(found.runs, by_hand.runs, strict=True):
            assert (run_found.candidate, run_found.split) == (run_by_hand.candidate, run_by_hand.split)
            assert run_found.predicted == run_by_hand.predicted


@pytest.mark.parametrize("size", [30, 0.5, "20"])
def test_a_size_that_was_not_fitted_is_refused(digits, size):
    X, y = digits
    with pytest.raises(ValueError, match=r"size must be one of those that were fitted: \[20, 40\]\. Got"):
        run(X, y, sizes=(20, 40), cv=2).comparison_at(size)


def test_a_record_without_fits_has_no_comparison():
    with pytest.raises(ValueError, match="fitted: no fits, so none"):
        record({"frozen": [0.5, 0.6, 0.7], "from_scratch": [0.4, 0.5, 0.6]}).comparison_at(20)
