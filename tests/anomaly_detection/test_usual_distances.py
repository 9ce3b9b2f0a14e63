"""The unit of distances: quantiles by the definition, and which of both counts."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import scoreatpercentile

from sktl.anomaly_detection._usual_distances import farthest, usual_distances


def test_a_place_that_differs_has_its_own_unit_and_the_others_that_of_all():
    distances = np.random.default_rng(0).uniform(1, 2, (50, 2, 30)).astype(np.float32)
    distances[:, 1, 7] *= 5
    distances[:, 0, :3] /= 100
    usual = usual_distances(distances)
    for stage in range(2):
        anywhere = scoreatpercentile(distances[:, stage].ravel(), 90)
        for place in range(30):
            expected = max(scoreatpercentile(distances[:, stage, place], 90), anywhere)
            assert usual[stage, place] == pytest.approx(expected, rel=1e-6)
    assert usual[1, 7] > 4 * usual[1, 8]
    assert_allclose(usual[0, :3], anywhere, rtol=0.05)


def test_units_depend_on_no_order_and_not_on_a_few_outliers():
    distances = np.random.default_rng(1).uniform(1, 2, (40, 1, 9)).astype(np.float32)
    usual = usual_distances(distances)
    assert_array_equal(usual_distances(distances[::-1]), usual)
    distances[:2] *= 1000
    assert_allclose(usual_distances(distances), usual, rtol=0.1)


@pytest.mark.parametrize("n_differing", [0, 1])
def test_where_nothing_differs_units_are_above_zero(n_differing):
    distances = np.zeros((10, 2, 5), np.float32)
    distances[:n_differing, 0, 2] = 3
    assert_array_equal(usual_distances(distances), [[3.0 if n_differing else 1.0] * 5, [1.0] * 5])


@pytest.mark.parametrize(("n_places", "n_farthest"), [(1, 1), (36, 1), (149, 1), (250, 2), (784, 8)])
def test_the_farthest_hundredth_are_averaged_and_one_at_least(n_places, n_farthest):
    places = np.random.default_rng(2).normal(size=n_places)
    expected = np.sort(places)[-n_farthest:].mean()
    assert farthest(torch.from_numpy(places)) == pytest.approx(expected, rel=1e-12)
