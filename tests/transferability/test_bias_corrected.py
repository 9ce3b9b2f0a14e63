"""The score of a chosen candidate follows its definition, and is right where the uncorrected one is too high."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from sktl.transferability import bias_corrected_score
from sktl.transferability._bias_corrected import _choose_and_score, _draws, _means


def by_definition(values, y, metric, groups, n_draws, seed):
    """Loop over draws, images and candidates, with lists; equal scores count by equal shares."""
    names = sorted(set(groups))
    scores = []
    for times in _draws(len(names), n_draws, np.random.default_rng(seed)):
        inside, outside = [], []
        for image, group in enumerate(groups):
            time = times[names.index(group)]
            inside += [image] * time
            outside += [image] * int(time == 0)
        drawn = [metric([y[i] for i in inside], [row[i] for i in inside]) for row in values]
        best = [row for row, score in zip(values, drawn, strict=True) if score >= max(drawn) - 1e-12]
        left = [metric([y[i] for i in outside], [row[i] for i in outside]) for row in best]
        scores.append(sum(left) / len(left))
    return scores


def some_predictions(n=40, n_candidates=5, seed=0):
    generator = np.random.default_rng(seed)
    y = generator.integers(3, size=n)
    values = np.where(generator.random((n_candidates, n)) < 0.6, y, generator.integers(3, size=(n_candidates, n)))
    return values, y


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("metric", [accuracy_score, balanced_accuracy_score, r2_score])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_is_what_its_definition_gives(metric, grouped):
    values, y = some_predictions()
    groups = np.repeat(["k", "b", "x", "m"] * 2, 5) if grouped else np.arange(40)
    expected = by_definition(values.tolist(), y.tolist(), metric, groups.tolist(), 20, seed=3)
    passed = {"groups": groups} if grouped else {}
    found = bias_corrected_score(values, y, metric=metric, n_draws=20, random_state=3, **passed)
    assert found.score == pytest.approx(np.mean(expected))
    assert [found.low, found.high] == pytest.approx(np.quantile(expected, [0.025, 0.975]))
    on_all = [metric(y, row) for row in values]
    assert (found.best, found.uncorrected) == (np.argmax(on_all), pytest.approx(max(on_all)))
    assert found.chosen.sum() == pytest.approx(1)


def test_draws_for_which_the_metric_raises_are_left_out():
    """A specificity, say, cannot be told of images of one class."""

    def strict(y_true, y_pred):
        if len(set(y_true)) < 2:
            raise ValueError("two classes, please")
        return np.mean(y_true == y_pred)

    def lenient(y_true, y_pred):
        return np.mean(y_true == y_pred) if len(set(y_true)) > 1 else np.nan

    y = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    values = np.array([y, 1 - y, np.zeros(10)])
    found, wanted = (bias_corrected_score(values, y, metric=metric, n_draws=50) for metric in (strict, lenient))
    assert (found.score, found.low, found.high) == (wanted.score, wanted.low, wanted.high)


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(8), 5)])
def test_scores_of_images_give_the_same_as_the_metric_that_is_their_mean(groups):
    values, y = some_predictions()
    by_metric = bias_corrected_score(values, y, metric=accuracy_score, groups=groups, n_draws=20)
    by_image = bias_corrected_score(values == y, groups=groups, n_draws=20)
    assert (by_image.best, by_image.uncorrected) == (by_metric.best, pytest.approx(by_metric.uncorrected))
    assert [by_image.score, by_image.low, by_image.high] == pytest.approx(
        [by_metric.score, by_metric.low, by_metric.high]
    )
    assert by_image.chosen == pytest.approx(by_metric.chosen)


def test_repeats_are_drawn_image_by_image():
    """Three predictions of every image, as entries in a row: what counts is the mean of its three."""
    generator = np.random.default_rng(0)
    repeats = (generator.random((4, 30, 3)) < 0.7).astype(float)
    entries = repeats.transpose(0, 2, 1).reshape(4, 90)
    found = bias_corrected_score(entries, groups=np.tile(np.arange(30), 3), n_draws=60)
    expected = bias_corrected_score(repeats.mean(axis=2), n_draws=60)
    assert [found.score, found.low, found.high] == pytest.approx([expected.score, expected.low, expected.high])
    assert found.chosen == pytest.approx(expected.chosen)


def test_with_equal_candidates_it_is_unbiased_exactly():
    """All 64 outcomes of two candidates on three images, each with all 27 draws: the mean is the true score."""
    truth, expected, uncorrected = 0.7, 0.0, 0.0
    draws = [np.bincount(drawn, minlength=3) for drawn in product(range(3), repeat=3) if len(set(drawn)) < 3]
    for outcome in product([0.0, 1.0], repeat=6):
        values = np.reshape(outcome, (2, 3))
        probability = truth ** values.sum() * (1 - truth) ** (6 - values.sum())
        scores_of = _means(values, np.arange(3))
        expected += probability * np.mean([_choose_and_score(draw, scores_of, 2)[0] for draw in draws])
        uncorrected += probability * values.mean(axis=1).max()
    assert expected == pytest.approx(truth, abs=1e-12)
    assert uncorrected > truth + 0.1


def simulated(truths, n_images, shared, n_simulations):
    """Biases of the uncorrected and of the corrected score, in units of it and of their standard errors."""
    generator = np.random.default_rng(0)
    limits, errors = norm.ppf(truths)[:, None], []
    for seed in range(n_simulations):
        difficulty = np.sqrt(shared) * generator.normal(size=n_images)
        own = np.sqrt(1 - shared) * generator.normal(size=(len(truths), n_images))
        found = bias_corrected_score(difficulty + own < limits, n_draws=200, random_state=seed)
        truth = truths[found.best]
        errors.append([found.uncorrected - truth, found.score - truth, found.low <= truth <= found.high])
    errors = np.array(errors, dtype=float)
    return errors.mean(axis=0), errors.std(axis=0) / np.sqrt(n_simulations)


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "too_high"), [(0.0, 0.042), (0.5, 0.035), (0.8, 0.028)])
def test_ten_equal_networks_have_a_winner_that_is_too_good_and_a_corrected_one_that_is_not(shared, too_high):
    """An exactly unbiased figure is within one standard error in two cases of three; within two in 95 of 100."""
    bias, error = simulated(np.full(10, 0.8), 200, shared, n_simulations=1000)
    assert bias[0] == pytest.approx(too_high, abs=0.003)
    assert abs(bias[1]) <= 2 * error[1]
    assert bias[2] >= 0.95  # the interval is on the safe side


@pytest.mark.slow
@pytest.mark.parametrize(
    ("truths", "n_images", "too_low"),
    [(np.linspace(0.7, 0.8, 10), 200, 0.006), (np.array([0.9] + [0.7] * 9), 50, 0.028)],
    ids=["steps", "one_ahead"],
)
def test_where_candidates_differ_it_is_a_little_low_and_never_high(truths, n_images, too_low):
    bias, error = simulated(truths, n_images, 0.0, n_simulations=600)
    assert -too_low - 3 * error[1] <= bias[1] <= 2 * error[1]


@pytest.mark.slow
def test_of_predictions_from_folds_it_takes_out_most_of_what_the_choice_added():
    """Ten equal linear models, each on 8 of 40 features: folds share training images, and some of the luck stays."""
    model, errors = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3), []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        y = np.arange(100) % 2
        X = rng.normal(size=(100, 40)) + 0.35 * (2 * y[:, None] - 1)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        views = [X[:, rng.permutation(40)[:8]] for _ in range(10)]
        right = np.stack([cross_val_predict(model, view, y, cv=folds) == y for view in views])
        found = bias_corrected_score(right, n_draws=100, random_state=seed)
        errors.append([found.uncorrected - right.mean(), found.score - right.mean()])  # all have the same true score
    uncorrected, corrected = np.mean(errors, axis=0)
    assert uncorrected == pytest.approx(0.06, abs=0.01)
    assert -0.005 < corrected < uncorrected / 4


def test_a_candidate_ahead_of_all_others_keeps_its_score():
    generator = np.random.default_rng(0)
    right = generator.random((5, 300)) < np.array([[0.5], [0.95], [0.5], [0.5], [0.5]])
    found = bias_corrected_score(right)
    assert found.best == 1
    assert found.chosen.tolist() == [0, 1, 0, 0, 0]
    assert found.score == pytest.approx(found.uncorrected, abs=0.002)
    assert found.low < found.uncorrected < found.high


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]])
def test_the_order_of_the_candidates_does_not_matter(order):
    values, y = some_predictions()
    found = bias_corrected_score(values[order] == y)
    expected = bias_corrected_score(values == y)
    assert found.score == pytest.approx(expected.score)
    assert found.chosen == pytest.approx(expected.chosen[order])


def test_one_candidate_and_equal_candidates_keep_their_score_on_average():
    right = np.random.default_rng(0).random(100) < 0.8
    alone = bias_corrected_score(right[None])
    assert alone.score == pytest.approx(alone.uncorrected, abs=0.005)
    ten = bias_corrected_score(np.tile(right, (10, 1)))
    assert ten.score == pytest.approx(alone.score)
    assert ten.chosen == pytest.approx(np.full(10, 0.1))


def test_labels_may_be_text_and_draws_without_a_finite_score_are_left_out():
    y = np.array(["cat"] * 9 + ["dog"], dtype=object)
    values = np.array([["cat"] * 10, ["cat"] * 9 + ["dog"]], dtype=object)

    def recall_of_dogs(y_true, y_pred):
        dogs = y_true == "dog"
        return np.mean(y_pred[dogs] == "dog") if dogs.any() else np.nan

    found = bias_corrected_score(values, y, metric=accuracy_score, n_draws=50)
    assert found.best == 1
    assert found.uncorrected == 1
    with pytest.raises(ValueError, match="none in all draws"):  # the one dog is never on both sides
        bias_corrected_score(values, y, metric=recall_of_dogs, n_draws=50)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[1.0, np.nan]], {}, "NaN"),
        ([[1.0]], {}, "at least two images"),
        ([[1.0, 0.0]], {"groups": [3, 3]}, "at least two images"),
        ([[1.0, 0.0]], {"groups": [1, 2, 3]}, "inconsistent numbers of samples"),
        ([[1.0, 0.0]], {"y": [1, 0]}, "y and metric must be passed together"),
        ([[1.0, 0.0]], {"metric": accuracy_score}, "y and metric must be passed together"),
        ([[1.0, 0.0]], {"y": [1, 0], "metric": lambda *_: np.nan}, "on all images must be finite"),
    ],
)
def test_what_cannot_be_corrected_is_named(values, options, message):
    with pytest.raises(ValueError, match=message):
        bias_corrected_score(values, **options)
