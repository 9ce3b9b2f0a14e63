"""Numbers of labels read from curves, and how sure they are: against scikit-learn, the interval, and by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from sktl._statistics import corrected_interval
from sktl.label_efficiency._labels_needed import corrected_draws, interval_with_bounds, labels_more, labels_needed


def test_labels_needed_are_read_between_the_sizes_on_a_logarithmic_scale():
    n_labels = np.array([10, 20, 40, 80])
    curve, targets = np.array([0.1, 0.3, 0.5, 0.9]), np.array([0.05, 0.1, 0.2, 0.3, 0.7, 0.9, 0.95])
    needed = labels_needed(n_labels, curve, targets)
    inside = np.exp(np.interp(targets, curve, np.log(n_labels)))
    np.testing.assert_allclose(needed, [0, *inside[1:-1], np.inf])


def test_a_curve_that_dips_is_made_to_rise_as_scikit_learn_does():
    generator = np.random.default_rng(0)
    n_labels = np.array([10, 20, 40, 80, 160])
    for curve in generator.random((50, 5)):
        rising = IsotonicRegression().fit_transform(np.arange(5), curve)
        if np.ptp(rising) < 1e-9:  # falls all the way
            continue
        target = generator.uniform(rising[0], rising[-1])
        expected = np.exp(np.interp(target, rising, np.log(n_labels)))
        np.testing.assert_allclose(labels_needed(n_labels, curve, np.array([target])), [expected])


def test_of_a_plateau_the_first_size_counts():
    assert labels_needed(np.array([10, 20, 40]), np.array([0.2, 0.5, 0.5]), np.array([0.5])) == pytest.approx([20])
    assert labels_needed(np.array([10, 20, 40]), np.array([0.5, 0.5, 0.5]), np.array([0.5])) == pytest.approx([10])


def test_many_curves_at_once_give_what_one_at_a_time_gives():
    generator = np.random.default_rng(1)
    curves, targets = generator.random((20, 4)), generator.random((20, 3))
    n_labels = np.array([5, 10, 30, 90])
    rows = [labels_needed(n_labels, curve, target) for curve, target in zip(curves, targets, strict=True)]
    np.testing.assert_array_equal(labels_needed(n_labels, curves, targets), rows)


def test_drawn_means_have_the_corrected_interval_as_their_quantiles():
    scores = np.random.default_rng(0).normal([[0.5, 0.8]], [[0.1, 0.02]], (6, 2))
    drawn = corrected_draws(scores, 80, 20, n_draws=200_000, random_state=0)
    for column in range(2):
        low, high = corrected_interval(scores[:, column], 80, 20)
        np.testing.assert_allclose(np.quantile(drawn[:, column], [0.025, 0.975]), [low, high], atol=0.02 * (high - low))
    # Student's distribution has no finite correlation to compare here; ranks do.
    expected = np.corrcoef(scores.T)[0, 1]
    assert stats.spearmanr(drawn).statistic == pytest.approx(6 / np.pi * np.arcsin(expected / 2), abs=0.05)


def test_an_interval_makes_up_nothing_between_the_last_size_and_infinity():
    values = np.array([*range(1, 96), *[np.inf] * 5])
    assert interval_with_bounds(values, 0.9) == (5.0, np.inf)
    assert interval_with_bounds(np.full(10, np.inf), 0.95) == (np.inf, np.inf)


def test_labels_more_has_a_sign_where_the_need_is_a_bound():
    needed, own = np.array([90.0, 40 * (1 + 1e-12), 0, np.inf]), np.array([40.0, 40, 20, 160])
    assert labels_more(needed, own).tolist() == [50, 0, -np.inf, np.inf]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Splits that share nothing, so the correction makes the interval wider than it needs to be."""
    n_labels, generator = np.array([20, 40, 80, 160]), np.random.default_rng(0)
    transfer, scratch = np.array([0.6, 0.7, 0.75, 0.8]), np.array([0.4, 0.55, 0.7, 0.85])
    truth = np.exp(np.interp(0.6, scratch, np.log(n_labels)))
    covered = 0
    for repeat in range(200):
        luck = generator.normal(0, 0.04, (5, 1))  # of the test images, common to all
        scores = np.r_[transfer, scratch] + luck + generator.normal(0, 0.03, (5, 8))
        drawn = corrected_draws(scores, 160, 40, n_draws=400, random_state=repeat)
        low, high = interval_with_bounds(labels_needed(n_labels, drawn[:, 4:], drawn[:, :4])[:, 0], 0.95)
        covered += low <= truth <= high
    assert covered >= 186  # of 190 expected; the binomial has 97.5 % above 184
