import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from sktl._statistics import (
    MeanDifference,
    corrected,
    corrected_interval,
    corrected_p_value,
    correlated_t_probabilities,
    differences_of,
    holm,
    spread_is_zero,
)

DIFFERENCES = [0.02, 0.05, 0.03, 0.06, 0.04]  # mean 0.04, variance 0.00025


def correlated_differences(rng, n_simulations, n_splits, correlation, mean=0.0, sd=0.05):
    """Fold differences as cross-validation makes them: every pair shares part of its training images."""
    shared = rng.standard_normal((n_simulations, 1))
    own = rng.standard_normal((n_simulations, n_splits))
    return mean + sd * (math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own)


def test_interval_equals_the_one_worked_by_hand():
    # standard error sqrt((1/5 + 20/80) * 0.00025) = sqrt(0.0001125); 97.5 % point of t with 4 degrees: 2.776445
    half = 2.776445 * math.sqrt(0.0001125)
    low, high = corrected_interval(DIFFERENCES, n_train=80, n_test=20)
    assert low == pytest.approx(0.04 - half, abs=1e-8)
    assert high == pytest.approx(0.04 + half, abs=1e-8)


def test_interval_without_shared_images_is_the_ordinary_one_of_scipy():
    ordinary = stats.ttest_1samp(DIFFERENCES, 0).confidence_interval(0.9)
    assert corrected_interval(DIFFERENCES, n_train=80, n_test=0, confidence=0.9) == pytest.approx(tuple(ordinary))


def test_interval_takes_one_size_per_split():
    sizes = corrected_interval(DIFFERENCES, n_train=[79, 80, 80, 80, 81], n_test=[21, 20, 20, 20, 19])
    assert sizes == pytest.approx(corrected_interval(DIFFERENCES, 80, 20))


def test_probabilities_equal_the_integral_of_the_posterior_over_mean_and_variance():
    """Likelihood of equally correlated normal differences times the prior 1 / variance, integrated on a grid."""
    n_splits, correlation, rope = len(DIFFERENCES), 0.2, 0.01
    structure = (1 - correlation) * np.eye(n_splits) + correlation
    inverse, log_determinant = np.linalg.inv(structure), np.linalg.slogdet(structure)[1]
    means = np.linspace(-0.36, 0.44, 4001)[:, None]
    log_variances = np.linspace(math.log(1e-5), math.log(0.05), 400)[None, :]
    residuals = np.array(DIFFERENCES) - means
    squares = np.einsum("ij,jk,ik->i", residuals, inverse, residuals)[:, None]
    # in terms of the logarithm of the variance the prior is flat
    log_density = -0.5 * (n_splits * log_variances + log_determinant + squares / np.exp(log_variances))
    mass = np.exp(log_density - log_density.max()).sum(axis=1)
    mass /= mass.sum()
    expected = mass[means[:, 0] < -rope].sum(), mass[means[:, 0] > rope].sum()
    worse, equal, better = correlated_t_probabilities(DIFFERENCES, n_train=80, n_test=20, rope=rope)
    assert (worse, better) == pytest.approx(expected, abs=2e-3)
    assert worse + equal + better == pytest.approx(1)


def test_probabilities_equal_the_integral_of_the_student_density():
    scale, degrees = math.sqrt(0.0001125), 4

    def density(mean):
        constant = math.gamma((degrees + 1) / 2) / (math.gamma(degrees / 2) * math.sqrt(degrees * math.pi) * scale)
        return constant * (1 + ((mean - 0.04) / scale) ** 2 / degrees) ** (-(degrees + 1) / 2)

    expected = [integrate.quad(density, *ends)[0] for ends in [(-np.inf, -0.03), (-0.03, 0.03), (0.03, np.inf)]]
    assert correlated_t_probabilities(DIFFERENCES, 80, 20, rope=0.03) == pytest.approx(expected, abs=1e-8)


def test_swapping_the_two_candidates_mirrors_everything():
    low, high = corrected_interval(DIFFERENCES, 80, 20)
    mirrored = [-difference for difference in DIFFERENCES]
    assert corrected_interval(mirrored, 80, 20) == pytest.approx((-high, -low))
    worse, equal, better = correlated_t_probabilities(DIFFERENCES, 80, 20, 0.01)
    assert correlated_t_probabilities(mirrored, 80, 20, 0.01) == pytest.approx((better, equal, worse))


@pytest.mark.parametrize("difference", [-0.02, 0.0, 0.01, 0.02])
@pytest.mark.parametrize("n_splits", [2, 5, 50])
def test_equal_differences_give_neither_interval_nor_probabilities(difference, n_splits):
    differences = [difference] * n_splits
    assert np.isnan(corrected_interval(differences, 80, 20)).all()
    probabilities = correlated_t_probabilities(differences, 80, 20, rope=0.01)
    assert np.isnan(probabilities).all()
    assert corrected(differences, 80, 20).verdict(0.01) == "undecided"
    assert np.isnan(corrected(differences, 80, 20).images_to_settle(0.01))


def test_rounding_does_not_count_as_spread():
    assert spread_is_zero([0.9 - 0.8, 0.8 - 0.7, 0.1])
    assert not spread_is_zero([0.1, 0.2])
    assert not spread_is_zero([0.1])


def test_one_split_gives_no_interval():
    assert np.isnan(corrected_interval([0.1], 80, 20)).all()
    assert np.isnan(correlated_t_probabilities([0.1], 80, 20, 0.01)).all()
    assert corrected([0.1], 80, 20).verdict(0.01) == "undecided"
    assert np.isnan(corrected([0.1], 80, 20).images_to_settle(0.01))


@pytest.mark.parametrize("differences", [[], [[0.1, 0.2]]])
def test_differences_that_are_not_one_per_split_are_an_error(differences):
    with pytest.raises(ValueError, match="one number per split"):
        corrected_interval(differences, 80, 20)


@pytest.mark.parametrize(
    ("mean", "error", "word"),
    [
        (0.050, 0.020, "better"),  # interval +0.011 to +0.089: it leaves out zero, and need not leave out the rope
        (-0.05, 0.020, "worse"),
        (0.050, 0.026, "undecided"),  # -0.001 to +0.101
        (-0.05, 0.026, "undecided"),
        (0.001, 0.004, "practically equal"),
        (0.008, 0.0015, "undecided"),  # beyond zero, within the rope, and not surely so
        (0.006, 0.0015, "practically equal"),
        (0.91 - 0.90, 0.0015, "undecided"),  # at the edge, but for rounding
        (0.050, math.nan, "undecided"),
    ],
)
def test_verdict_is_beyond_zero_and_beyond_the_rope(mean, error, word):
    known = MeanDifference(mean, error, 1e6, 5, math.nan, "crossed")
    assert known.verdict(0.01) == word


@given(mean=st.floats(-1, 1), error=st.floats(1e-6, 1), degrees=st.floats(1, 200), rope=st.floats(0, 0.5))
def test_verdict_never_contradicts_interval_and_p_value(mean, error, degrees, rope):
    known = MeanDifference(mean, error, degrees, 5, math.nan, "crossed")
    low, high = known.interval()
    if (verdict := known.verdict(rope)) in ("better", "worse"):
        assert known.p_value() < 0.05
        assert (low > 0 and mean > rope) if verdict == "better" else (high < 0 and mean < -rope)
    if low > rope or high < -rope:
        assert verdict in ("better", "worse")
    if verdict == "practically equal":
        assert abs(mean) <= rope


def test_images_to_settle_is_the_first_factor_that_decides():
    differences = np.array([0.02, 0.05, -0.03, 0.06, 0.04])
    factor = corrected(differences, 80, 20).images_to_settle(0.01)
    shrunk = [differences.mean() + (differences - differences.mean()) / math.sqrt(f) for f in (factor, factor / 1.1)]
    assert [corrected(d, 80, 20).verdict(0.01) for d in shrunk] == ["better", "undecided"]


def test_nothing_settles_a_difference_at_the_edge_of_practical_equivalence():
    assert corrected([0.0, 0.02, 0.01, 0.0, 0.02], 80, 20).images_to_settle(0.01) == np.inf


@pytest.mark.parametrize(
    "n_simulations", [300, pytest.param(20_000, marks=pytest.mark.slow)], ids=["light", "thorough"]
)
def test_false_alarms_are_as_rare_as_promised_where_a_plain_t_test_fails(n_simulations):
    rng = np.random.default_rng(0)
    simulated = correlated_differences(rng, n_simulations, n_splits=10, correlation=0.2)
    intervals = np.array([corrected_interval(differences, 80, 20) for differences in simulated])
    alarms = ((intervals[:, 0] > 0) | (intervals[:, 1] < 0)).mean()
    plain = (stats.ttest_1samp(simulated, 0, axis=1).pvalue < 0.05).mean()
    tolerance = 4 * math.sqrt(0.05 * 0.95 / n_simulations)
    assert alarms == pytest.approx(0.05, abs=tolerance)
    assert plain > 0.15
    verdicts = [corrected(differences, 80, 20).verdict(0.01) for differences in simulated]
    assert np.mean([verdict in ("better", "worse") for verdict in verdicts]) < 0.05 + tolerance


def ridge_accuracies(rng, n_simulations, n_images, n_repeats):
    """Fold accuracies of a ridge classifier on normal features, for many data sets at once."""
    labels = np.resize([-1.0, 1.0], n_images)
    X = rng.standard_normal((n_simulations, n_images, 6)) + 0.3 * labels[:, None]
    folds, scores = np.random.default_rng(0), []
    for _ in range(n_repeats):
        order = np.concatenate([folds.permutation(np.flatnonzero(labels == sign)) for sign in (-1, 1)])
        for fold in range(5):
            test, train = order[fold::5], np.delete(order, np.s_[fold::5])
            gram = np.einsum("snp,snq->spq", X[:, train], X[:, train]) + np.eye(6)
            weights = np.linalg.solve(gram, np.einsum("snp,n->sp", X[:, train], labels[train])[..., None])
            scores.append((np.sign(X[:, test] @ weights)[..., 0] == labels[test]).mean(axis=1))
    return np.stack(scores, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("n_repeats", [1, 4])
def test_false_alarms_about_classifiers_that_are_equally_good_are_as_rare_as_promised(n_repeats):
    """Two classifiers that see different features of the same worth: their folds agree by chance on who is better."""
    rng, n_simulations = np.random.default_rng(0), 2000
    first, *others = (ridge_accuracies(rng, n_simulations, 60, n_repeats) for _ in range(4))
    p_values = np.array([[corrected_p_value(d, 48, 12) for d in other - first] for other in others])
    tolerance = 3 * math.sqrt(0.05 * 0.95 / n_simulations)
    assert (p_values[0] < 0.05).mean() < 0.05 + tolerance
    families = [np.nanmin([*holm(family), 1.0]) for family in p_values.T]
    assert np.mean(np.array(families) < 0.05) < 0.05 + tolerance
    if n_repeats > 1:
        with np.errstate(all="ignore"):
            assert (stats.ttest_rel(others[0], first, axis=1).pvalue < 0.05).mean() > 0.15


@pytest.mark.parametrize(("mean", "least"), [(0.05, 0.3), (0.1, 0.95)])
def test_power_grows_with_the_difference(mean, least):
    simulated = correlated_differences(np.random.default_rng(2), 500, n_splits=10, correlation=0.2, mean=mean, sd=0.04)
    assert np.mean([corrected_p_value(differences, 80, 20) < 0.05 for differences in simulated]) > least


def test_p_value_equals_the_one_worked_by_hand_and_agrees_with_the_interval():
    expected = 2 * stats.t.sf(0.04 / math.sqrt(0.0001125), 4)
    assert corrected_p_value(DIFFERENCES, 80, 20) == pytest.approx(expected)
    ordinary = stats.ttest_1samp(DIFFERENCES, 0).pvalue
    assert corrected_p_value(DIFFERENCES, 80, 0) == pytest.approx(ordinary)
    for differences in correlated_differences(np.random.default_rng(3), 200, 5, 0.2, mean=0.06):
        low, high = corrected_interval(differences, 80, 20)
        assert (corrected_p_value(differences, 80, 20) < 0.05) == (low > 0 or high < 0)
    assert np.isnan(corrected_p_value([0.1] * 5, 80, 20))


def test_holm_gives_the_numbers_of_its_step_down():
    # 4 x 0.01; 3 x 0.02 = 0.06; 2 x 0.03 = 0.06; 1 x 0.04, raised to what came before
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_rejects_what_closed_testing_rejects():
    """A hypothesis falls when every set that holds it falls by Bonferroni: the definition, by brute force."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        p_values = rng.random(4) ** 3
        corrected = []
        for one in range(4):
            sets = [s for size in range(1, 5) for s in itertools.combinations(range(4), size) if one in s]
            corrected.append(min(1, max(len(s) * min(p_values[list(s)]) for s in sets)))
        assert holm(p_values) == pytest.approx(corrected)


def test_holm_passes_over_candidates_without_a_p_value():
    corrected = holm([0.02, float("nan"), 0.03])
    assert corrected[0::2] == pytest.approx([0.04, 0.04])
    assert np.isnan(corrected[1])


def test_repeats_to_settle_is_the_first_number_of_repeats_that_decides():
    differences = np.array([0.04, 0.07, 0.00, 0.08, 0.06])

    def verdict(repeats):
        n = 5 * repeats
        error = math.sqrt((1 / n + 0.25) * differences.var(ddof=1))
        low, _ = stats.t.interval(0.95, n - 1, differences.mean(), error)
        return "better" if low > 0 and differences.mean() > 0.01 else "undecided"

    factor = corrected(differences, 80, 20).repeats_to_settle(0.01)
    assert factor == next(repeats for repeats in range(1, 100) if verdict(repeats) != "undecided") > 1


def test_repeats_cannot_settle_what_the_splits_share():
    differences = [0.02, 0.05, -0.03, 0.06, 0.04]
    assert corrected(differences, 80, 20).repeats_to_settle(0.01) == np.inf
    assert np.isfinite(corrected(differences, 80, 20).images_to_settle(0.01))
    assert corrected([0.2, 0.21, 0.19, 0.2, 0.22], 80, 20).repeats_to_settle(0.01) == 1
    assert np.isnan(corrected([0.1] * 5, 80, 20).repeats_to_settle(0.01))


def test_a_large_difference_is_found():
    simulated = correlated_differences(np.random.default_rng(1), 200, n_splits=5, correlation=0.2, mean=0.2, sd=0.03)
    verdicts = [corrected(differences, 80, 20).verdict(0.01) for differences in simulated]
    assert np.mean([verdict == "better" for verdict in verdicts]) > 0.95


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e6])
def test_a_spread_is_told_from_rounding_in_any_unit(unit):
    assert not spread_is_zero(unit * np.array([1.0, 3.0, -2.0, 1.0]))
    assert spread_is_zero(unit * np.array([0.1 + 0.2, 0.3, 0.3]))


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e6])
def test_differences_leave_out_the_rounding_of_the_scores(unit):
    scores = unit * np.array([0.9, 0.8, 0.7])
    nearly = scores * (1 + np.array([1e-16, -2e-16, 3e-16]))
    assert differences_of(scores, nearly).tolist() == [0, 0, 0]
    assert spread_is_zero(differences_of(scores, nearly - unit / 10))
    np.testing.assert_array_equal(differences_of(scores, scores[::-1]), scores - scores[::-1])
    assert not spread_is_zero(differences_of(scores, scores[::-1]))
