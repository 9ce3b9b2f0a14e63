"""The interval that looks at images and trainings: held against components of variance that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sktl._statistics import crossed


def folds(rng, n_images, n_folds, n_repeats):
    """Indices of the test images of every split."""
    return [part for _ in range(n_repeats) for part in np.array_split(rng.permutation(n_images), n_folds)]


def drawn(rng, *, n_images=100, n_folds=5, n_repeats=1, image=0.3, rest=0.2, luck=0.0, mean=0.0):
    """Contributions as the sum of a mean, what an image keeps over repeats, a rest, and the luck of each training."""
    units, of_images = folds(rng, n_images, n_folds, n_repeats), image * rng.standard_normal(n_images)
    gains = [
        mean + of_images[unit] + rest * rng.standard_normal(len(unit)) + luck * rng.standard_normal() for unit in units
    ]
    return gains, units


def true_variance(n_images, n_folds, n_repeats, image, rest, luck):
    return image**2 / n_images + rest**2 / (n_images * n_repeats) + luck**2 / (n_folds * n_repeats)


def test_one_repeat_without_luck_is_the_paired_test_over_images_within_their_folds():
    gains, units = [np.array([0.0, 1, 1, 0]), np.array([1.0, 0, 0, 1])], [np.arange(4), np.arange(4, 8)]
    found = crossed(gains, units, ratio=1.0)
    assert found.mean == 0.5
    # equal means of the folds: what is left is the variance within them, 1/3, over eight images with 6 degrees
    assert found.error == pytest.approx(np.sqrt((1 / 3) / 8))
    assert found.degrees_of_freedom == pytest.approx(6)
    assert found.interval() == pytest.approx(stats.t.interval(0.95, 6, 0.5, np.sqrt(1 / 24)))
    assert found.p_value() == pytest.approx(2 * stats.t.sf(0.5 / np.sqrt(1 / 24), 6))


def test_one_repeat_with_much_luck_is_the_paired_test_over_folds():
    gains = [np.array([1.0, 1, 1, 0]), np.array([0.0, 0, -1, 0]), np.array([-1.0, -1, -1, 0])]
    means = np.array([0.75, -0.25, -0.75])
    found = crossed(gains, np.arange(12).reshape(3, 4), ratio=0.5)
    assert found.error == pytest.approx(means.std(ddof=1) / np.sqrt(3))
    within = 0.25 / 4 * 3 / 9  # the variance within each fold is 1/4; and of their mean, a third of a fourth of it
    between = means.var(ddof=1) / 3
    assert found.degrees_of_freedom == pytest.approx(between**2 / (within**2 / 9 + between**2 / 2))


@pytest.mark.parametrize(("n_folds", "power"), [(2, 0), (3, 0), (4, 6), (5, 12)])
def test_a_spread_that_the_images_explain_counts_the_less_the_more_folds_there_are(n_folds, power):
    shifts = np.arange(n_folds) - (n_folds - 1) / 2
    gains = np.tile([1.0, -1, 1, -1], (n_folds, 1)) + 0.3 * shifts[:, None]
    found = crossed(gains, np.arange(4 * n_folds).reshape(n_folds, 4), 1 / (n_folds - 1))
    images, between = (4 / 3) / (4 * n_folds), np.var(0.3 * shifts, ddof=1) / n_folds
    assert between < images
    assert found.error == pytest.approx(np.sqrt(images))
    terms = images**2 / (3 * n_folds) + between**2 * (between / images) ** power / (n_folds - 1)
    assert found.degrees_of_freedom == pytest.approx(images**2 / terms)


@pytest.mark.parametrize(("n_folds", "n_repeats"), [(3, 1), (5, 1), (5, 4)])
@pytest.mark.parametrize("luck", [0.05, 0.2])
def test_squared_error_is_the_variance_that_the_components_add_up_to(n_folds, n_repeats, luck):
    rng, sizes = np.random.default_rng(0), {"n_images": 60, "n_folds": n_folds, "n_repeats": n_repeats}
    parts = {"image": 0.3, "rest": 0.2, "luck": luck}
    found = [crossed(*drawn(rng, **sizes, **parts), ratio=0.0) for _ in range(400)]
    expected = true_variance(*sizes.values(), *parts.values())
    assert np.var([one.mean for one in found]) == pytest.approx(expected, rel=0.25)
    # the greater of two estimates is too large rather than too small, by a third where there is little luck
    ratio = np.mean([one.error**2 for one in found]) / expected
    assert 0.95 < ratio < 1.45


def test_what_repeats_share_is_widened_by_the_share_of_test_images():
    gains, units = drawn(np.random.default_rng(1), n_repeats=8, rest=0.0)
    plain, widened = (crossed(gains, units, ratio) for ratio in (0.0, 0.25))
    # eight repeats of the same image are worth one
    assert plain.error**2 == pytest.approx(0.3**2 / 100, rel=0.4)
    assert 1.15 < widened.error**2 / plain.error**2 < 1.25


@pytest.mark.parametrize("n_repeats", [1, 3])
def test_copies_of_an_image_in_one_group_are_worth_one_image(n_repeats):
    gains, units = drawn(np.random.default_rng(2), n_images=30, n_repeats=n_repeats)
    once = crossed(gains, units, 0.25)
    grouped = crossed([np.repeat(part, 4) for part in gains], [np.repeat(unit, 4) for unit in units], 0.25)
    assert (grouped.mean, grouped.error) == pytest.approx((once.mean, once.error))
    assert grouped.degrees_of_freedom == pytest.approx(once.degrees_of_freedom)
    apart = crossed(
        [np.repeat(part, 4) for part in gains], [np.add.outer(4 * u, range(4)).ravel() for u in units], 0.25
    )
    assert apart.error < once.error  # the same taken for images of their own


def test_nothing_is_said_where_images_and_trainings_show_no_spread():
    alike = crossed([np.ones(4), np.ones(4)], np.arange(8).reshape(2, 4), 1.0)
    assert alike.mean == 1
    assert np.isnan([alike.error, *alike.interval(), alike.p_value(), *alike.probabilities(0.01)]).all()
    assert alike.verdict(0.01) == "undecided"
    assert np.isnan([alike.images_to_settle(0.01), alike.repeats_to_settle(0.01)]).all()


@pytest.mark.parametrize("units", [[[0, 1]], [[0, 1], [2]], [[0, 0], [1, 2]]])
def test_splits_that_cannot_tell_images_from_trainings_are_left_to_the_corrected_interval(units):
    assert crossed([np.arange(len(unit)) for unit in units], units, 1.0) is None


def test_equal_folds_hide_no_difference():
    """A baseline that is stuck scores the same on every fold: the spread over them vanishes, that over images stays."""
    stuck, learned = np.arange(60) % 2, (np.arange(60) % 30 < 28).astype(int)
    gains = (learned - stuck).reshape(2, 30)
    assert gains.mean(axis=1).tolist() == pytest.approx([13 / 30, 13 / 30])
    assert crossed(gains, np.arange(60).reshape(2, 30), 1.0).verdict(0.01) == "better"


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n_folds=st.integers(2, 10), n_repeats=st.integers(1, 4), luck=st.floats(0, 0.3),
    mean=st.floats(-0.3, 0.3), unit=st.sampled_from([1e-9, 1.0, 1e6]), rope=st.floats(0, 0.1),
)  # fmt: skip
def test_interval_verdict_and_p_value_never_contradict_each_other(seed, n_folds, n_repeats, luck, mean, unit, rope):
    rng = np.random.default_rng(seed)
    gains, units = drawn(rng, n_images=40, n_folds=n_folds, n_repeats=n_repeats, luck=luck, mean=mean)
    gains = [unit * part for part in gains]
    found = crossed(gains, units, 1 / (n_folds - 1))
    low, high = found.interval()
    worse, equal, better = found.probabilities(unit * rope)
    assert worse + equal + better == pytest.approx(1)
    assert (found.p_value() < 0.05) == (low > 0 or high < 0)
    beyond = {"better": low > 0 and found.mean > unit * rope, "worse": high < 0 and found.mean < -unit * rope}
    assert beyond.get(found.verdict(unit * rope), True)
    assert found.verdict(unit * rope) != "undecided" or not any(beyond.values())
    mirrored = crossed([-part for part in gains], [39 - unit for unit in units], 1 / (n_folds - 1))
    assert mirrored.interval() == pytest.approx((-high, -low))


def test_repeats_end_no_indecision_that_the_images_make():
    rng = np.random.default_rng(3)
    of_images = crossed(*drawn(rng, n_repeats=3, rest=0.0, mean=0.03), 0.25)
    assert of_images.verdict(0.01) == "undecided"
    assert of_images.repeats_to_settle(0.01) == np.inf
    assert np.isfinite(of_images.images_to_settle(0.01))
    for parts in ({"rest": 0.3, "luck": 0.0}, {"rest": 0.0, "luck": 0.15}):
        of_training = crossed(*drawn(rng, n_repeats=3, image=0.02, mean=0.012, **parts), 0.25)
        assert of_training.verdict(0.01) == "undecided"
        assert 1 < of_training.repeats_to_settle(0.01) < 100


def test_one_draw_of_the_folds_does_not_tell_what_repeats_are_worth():
    once = crossed(*drawn(np.random.default_rng(3), mean=0.03), 0.25)
    assert once.verdict(0.01) == "undecided"
    assert np.isnan(once.repeats_to_settle(0.01))
    assert np.isfinite(once.images_to_settle(0.01))


@pytest.mark.parametrize("n_drawn", [150, pytest.param(4000, marks=pytest.mark.slow)], ids=["light", "thorough"])
@pytest.mark.parametrize("luck", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(("n_folds", "n_repeats"), [(3, 1), (5, 1), (10, 1), (5, 3)])
def test_true_differences_are_covered_whatever_the_luck(n_folds, n_repeats, luck, n_drawn):
    rng = np.random.default_rng(4)
    sizes = {"n_images": 100, "n_folds": n_folds, "n_repeats": n_repeats, "luck": luck}
    found = np.array([crossed(*drawn(rng, **sizes), 1 / (n_folds - 1)).interval() for _ in range(n_drawn)])
    covered = np.mean((found[:, 0] <= 0) & (found[:, 1] >= 0))
    assert covered > 0.945 - 3 * np.sqrt(0.05 * 0.95 / n_drawn)
