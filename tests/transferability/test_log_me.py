"""LogME equals the dense evidence of the linear model, is its maximum, and is a number for all that may be passed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import helmert
from scipy.optimize import minimize
from sklearn.preprocessing import StandardScaler

from sktl.transferability import log_me
from sktl.transferability._arrays import standardized
from sktl.transferability._log_me import _maximize, _spectrum

NOTHING = -0.5 * math.log(2 * math.pi * math.e)  # the evidence of a target of variance 1 without features
BOUND = -0.5 * math.log(2 * math.pi * 1e-6)


def dense_evidence(features, target, alpha, beta):
    """Log evidence per degree of freedom by the log determinant over all features, as in Bishop's equation 3.86."""
    contrasts = helmert(len(target))  # the intercept is integrated out: what is left are n - 1 contrasts
    F, z = contrasts @ features, contrasts @ target
    n, n_features = F.shape
    A = alpha * np.eye(n_features) + beta * F.T @ F
    m = beta * np.linalg.solve(A, F.T @ z)
    error = beta / 2 * np.sum((z - F @ m) ** 2) + alpha / 2 * m @ m
    log_determinant = np.linalg.slogdet(A)[1]
    total = (
        n_features / 2 * np.log(alpha) + n / 2 * np.log(beta) - error - log_determinant / 2 - n / 2 * np.log(2 * np.pi)
    )
    return total / n


def of_mean_0_and_variance_1(columns):
    return StandardScaler().fit_transform(columns) * np.sqrt(1 - 1 / len(columns))


def some_data(n, n_features, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, n_features)) * generator.gamma(2, size=n_features) + 3
    numbers = features[:, :10].sum(axis=1) + generator.normal(size=n) * 5
    return features, numbers


SHAPES = pytest.mark.parametrize(("n", "n_features"), [(50, 20), (50, 200), (100, 2048)])


@SHAPES
def test_equals_the_dense_evidence_at_its_own_alpha_and_beta_for_numbers(n, n_features):
    features, numbers = some_data(n, n_features)
    F, y = of_mean_0_and_variance_1(features), of_mean_0_and_variance_1(numbers[:, None])[:, 0]
    eigenvalues, coordinates = _spectrum(F, y[:, None])
    squares = coordinates[:, 0] ** 2
    evidence, alpha, beta = _maximize(eigenvalues, squares, max(0, y @ y - squares.sum()), n - 1)
    assert dense_evidence(F, y, alpha, beta) == pytest.approx(evidence, abs=1e-6)
    assert log_me(features, numbers) == pytest.approx(evidence, abs=1e-6)


@SHAPES
def test_no_alpha_and_beta_give_more(n, n_features):
    """The dense evidence is maximised over both by a method that knows nothing of it."""
    features, numbers = some_data(n, n_features, seed=1)
    F, y = of_mean_0_and_variance_1(features), of_mean_0_and_variance_1(numbers[:, None])[:, 0]
    if n < n_features:  # the same evidence over images instead of features: the determinant lemma
        contrasts = helmert(n)
        gram, z = contrasts @ F @ F.T @ contrasts.T, contrasts @ y

        def minus(logs):
            covariance = np.eye(n - 1) / np.exp(logs[1]) + gram / np.exp(logs[0])
            log_determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
            return (log_determinant + z @ np.linalg.solve(covariance, z)) / 2 / (n - 1)

        assert -minus([1.0, 0.5]) == pytest.approx(dense_evidence(F, y, np.exp(1.0), np.exp(0.5)), abs=1e-8)
    else:

        def minus(logs):
            return -dense_evidence(F, y, *np.exp(logs))

    starts = [(np.log(n_features), 0.0), (0.0, 2.0), (np.log(n_features) + 3, 0.5)]
    bounds = [(-20, 20), (-20, np.log(1e6))]
    best = max(-minimize(minus, start, method="Nelder-Mead", bounds=bounds).fun for start in starts)
    assert log_me(features, numbers) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(("n", "n_features"), [(50, 20), (50, 200)])
def test_classes_are_the_mean_over_each_against_all_others(n, n_features):
    features, numbers = some_data(n, n_features)
    labels = np.array(["low", "middle", "high"])[np.digitize(numbers, np.quantile(numbers, [0.3, 0.6]))]
    columns = [(labels == label).astype(float) for label in ("low", "middle", "high")]
    expected = np.mean([log_me(features, column, task="regression") for column in columns])
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-9)


def test_several_targets_are_the_mean_over_the_columns():
    features, numbers = some_data(60, 30)
    other = np.random.default_rng(5).normal(size=60)
    expected = (log_me(features, numbers) + log_me(features, other)) / 2
    assert log_me(features, np.column_stack([numbers, other])) == pytest.approx(expected)


@pytest.mark.parametrize("n_features", [8, 300])
def test_does_not_depend_on_scale_shift_order_or_on_features_that_are_constant_or_come_twice(n_features):
    features, numbers = some_data(80, n_features)
    expected = log_me(features, numbers)
    generator = np.random.default_rng(3)
    order, columns = generator.permutation(80), generator.permutation(n_features)
    assert log_me(features[order][:, columns], numbers[order]) == pytest.approx(expected, abs=1e-6)
    assert log_me(features * 1e200, numbers * 1e-9 + 1) == pytest.approx(expected, abs=1e-6)
    assert log_me(features * 1e-250 + 0, numbers) == pytest.approx(expected, abs=1e-6)
    assert log_me(np.column_stack([features, np.full(80, 0.1)]), numbers) == pytest.approx(expected, abs=1e-6)
    assert log_me(np.column_stack([features, features]), numbers) == pytest.approx(expected, abs=1e-6)
    assert log_me(features.astype(np.float32), numbers) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("n_features", [5, 64, 200, 2048])
def test_features_of_noise_alone_say_nothing_however_many(n_features):
    """An evidence that lacks terms of the determinant grows by tens here."""
    generator = np.random.default_rng(0)
    found = log_me(generator.normal(size=(100, n_features)), generator.permutation([0, 1] * 50))
    assert NOTHING - 1e-9 <= found < NOTHING + 0.03


def test_informative_features_count_more_than_the_same_beside_noise():
    generator = np.random.default_rng(0)
    informative = generator.normal(size=(100, 10))
    labels = (informative.sum(axis=1) > 0).astype(int)
    wide = np.column_stack([informative, generator.normal(size=(100, 2000))])
    assert log_me(informative, labels) > log_me(wide, labels) > NOTHING


@pytest.mark.parametrize(
    "features", [np.zeros((20, 3)), np.full((20, 40), 7.3), np.full((20, 3), 0.1, dtype=np.float32)]
)
def test_constant_features_say_nothing(features):
    assert log_me(features, [0, 1] * 10) == pytest.approx(NOTHING)


@pytest.mark.parametrize("n_features", [3, 19, 20, 100])
def test_targets_without_noise_give_a_number_within_the_bound(n_features):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(20, n_features))
    exact = log_me(features, features[:, :3] @ [1.0, 2.0, -1.0])
    assert NOTHING < exact <= BOUND
    assert n_features > 3 or exact > 4
    twice = log_me(np.vstack([features, features]), np.tile([0, 1], 20))  # every image twice, with one label
    assert NOTHING - 1e-9 <= twice <= BOUND


def test_separable_classes_and_two_images_give_a_number():
    assert NOTHING < log_me([[0.0], [0.0], [1.0], [1.0]], ["a", "a", "b", "b"]) <= BOUND
    assert log_me([[0.0, 1.0], [2.0, 1.0]], ["a", "b"]) == pytest.approx(NOTHING)


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    n=st.integers(2, 12),
    n_features=st.integers(1, 15),
    magnitude=st.sampled_from([1e-30, 1.0, 1e30]),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_any_finite_features_give_a_finite_number_between_nothing_and_the_bound(data, n, n_features, magnitude, kind):
    whole = arrays(np.int8, (n, n_features), elements=st.integers(-3, 3))  # rows and columns that repeat, low ranks
    features = data.draw(whole).astype(kind) * kind(magnitude)
    labels = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(lambda found: len(set(found)) > 1))
    assert NOTHING - 1e-9 <= log_me(features, labels) <= BOUND


def test_standardised_columns_have_mean_0_and_variance_1():
    columns = standardized(np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]))
    assert columns.mean(axis=0) == pytest.approx([0, 0])
    assert columns.var(axis=0, ddof=1) == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("features", "y", "message"),
    [
        ([[1.0], [2.0]], ["a", "a"], "at least two classes"),
        ([[1.0], [2.0], [3.0]], [0.5, 0.5, 0.5], "at least two different numbers"),
        ([[1.0], [2.0], [3.0]], [[0.5, 1.0], [0.5, 2.0], [0.5, 3.0]], "at least two different numbers"),
        ([[1.0], [np.nan]], [0, 1], "NaN"),
        ([[1.0], [2.0]], [0.5, np.nan], "NaN"),
        ([[1.0], [2.0]], [0, 1, 1], "inconsistent numbers of samples"),
        ([[1.0]], [0], "minimum of 2"),
    ],
)
def test_what_cannot_be_scored_is_named(features, y, message):
    with pytest.raises(ValueError, match=message):
        log_me(features, y)
