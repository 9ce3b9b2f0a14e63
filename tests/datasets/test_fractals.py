"""Fractals drawn by formula: shapes, determinism, and that a class is something to be learned."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score
from sklearn.utils._param_validation import InvalidParameterError

from sktl.datasets import make_fractals
from sktl.datasets._fractals import (
    LARGEST_SINGULAR_VALUE,
    _blur,
    _palettes,
    make_noise,
    paint,
    render,
    sample_systems,
    vary_systems,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("n_samples", "n_classes", "image_size"), [(1, 1, 8), (5, 7, 9), (300, 3, 16), (7, 2, 48)])
def test_make_fractals_gives_uint8_colour_pictures_and_integer_classes(n_samples, n_classes, image_size):
    X, y = make_fractals(n_samples, n_classes=n_classes, image_size=image_size, random_state=0)
    assert X.shape == (n_samples, image_size, image_size, 3)
    assert X.dtype == np.uint8
    assert y.shape == (n_samples,)
    assert y.dtype == np.int64
    counts = np.bincount(y, minlength=n_classes)
    assert len(counts) == n_classes
    assert np.ptp(counts) <= 1


def test_make_fractals_repeats_itself_with_one_seed_and_differs_with_another():
    X, y = make_fractals(20, random_state=3)
    again_X, again_y = make_fractals(20, random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(X, again_X)
    np.testing.assert_array_equal(y, again_y)
    assert not np.array_equal(X, make_fractals(20, random_state=4)[0])


def test_make_fractals_leaves_the_global_random_state_as_found():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    make_fractals(4, random_state=0)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_difficulty_is_the_share_of_pictures_that_are_not_grey_on_dark():
    X, _ = make_fractals(40, difficulty=0.25, random_state=0)
    plain = (X[..., :1] == X).all((1, 2, 3)) & (X.min((1, 2, 3)) == round(0.05 * 255 - 0.5))
    assert plain.sum() == 30
    easy, _ = make_fractals(10, difficulty=0, random_state=0)
    assert (easy[..., :1] == easy).all()


def test_every_picture_shows_something():
    for difficulty in (0, 1):
        X, _ = make_fractals(200, n_classes=20, difficulty=difficulty, random_state=0)
        assert X.std((1, 2, 3)).min() > 2


def test_classes_differ_more_than_chance_and_plain_pictures_are_easier():
    def accuracy(difficulty):
        X, y = make_fractals(400, n_classes=4, image_size=16, difficulty=difficulty, random_state=0)
        grey = X.mean(3).reshape(len(X), -1)
        spectrum = np.abs(np.fft.fft2(X.mean(3))).reshape(len(X), -1)  # does not see shifts
        features = np.hstack([grey, spectrum])
        return cross_val_score(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), features, y, cv=3).mean()

    assert accuracy(0) > max(0.5, accuracy(1))


@pytest.mark.parametrize(
    "wrong", [{"n_classes": 0}, {"image_size": 4}, {"difficulty": 1.5}, {"n_samples": 2.5}, {"random_state": "a"}]
)
def test_make_fractals_names_the_parameter_that_is_wrong(wrong):
    with pytest.raises(InvalidParameterError, match=f"'{next(iter(wrong))}' parameter of make_fractals"):
        make_fractals(**wrong)


def test_systems_contract_and_keep_the_weighted_sum_of_singular_values(rng):
    systems = sample_systems(40, rng)
    assert systems.shape == (40, 4, 6)
    used = (systems != 0).any(2)
    n_maps = used.sum(1)
    assert set(n_maps) == {2, 3, 4}
    values = np.linalg.svd(systems[:, :, :4].reshape(40, 4, 2, 2), compute_uv=False)
    assert values.max() <= LARGEST_SINGULAR_VALUE + 1e-5
    weighted = (values * [1, 2]).sum((1, 2))
    assert (weighted >= (5 + n_maps) / 2 - 1e-4).all()
    assert (weighted <= (6 + n_maps) / 2 + 1e-4).all()


def test_varied_systems_still_contract_and_change_one_map(rng):
    systems = sample_systems(30, rng)
    varied = vary_systems(systems, rng)
    assert ((systems != varied).any(2).sum(1) == 1).all()
    values = np.linalg.svd(varied[:, :, :4].reshape(-1, 2, 2), compute_uv=False)
    assert values.max() <= LARGEST_SINGULAR_VALUE + 1e-5


def test_render_draws_the_sierpinski_triangle(rng):
    corners = np.array([(0, 0), (1, 0), (0, 1)], float)
    maps = [[0.5, 0, 0, 0.5, *corner] for corner in corners] + [[0] * 6]
    density = render(np.array([maps], np.float32), 32, rng)[0]
    assert density.dtype == np.uint8
    assert density.max() == 255
    exact = corners  # every point that nine maps reach, by enumeration
    for _ in range(8):
        exact = (exact[:, None] / 2 + corners).reshape(-1, 2)
    column, row = np.floor(exact * 31 / 2 + 0.5).astype(int).T
    expected = np.zeros((32, 32), bool)
    expected[row, column] = True
    seen = density > 0
    np.testing.assert_array_less((seen & ~binary_dilation(expected)).sum(), 3)
    assert (seen & expected).sum() > 0.8 * expected.sum()


def test_a_system_is_drawn_alike_alone_and_among_others(rng):
    systems = sample_systems(4, rng)
    together = render(systems, 32, np.random.default_rng(1)) > 0
    for k in range(4):
        alone = render(systems[k : k + 1], 32, np.random.default_rng(2)) > 0
        overlap = (together & alone).sum((1, 2)) / (together | alone).sum((1, 2))
        assert overlap.argmax() == k


def test_noise_is_standardised_and_smoother_than_white_noise(rng):
    noise = make_noise(20, 32, rng)
    assert noise.shape == (20, 32, 32, 3)
    np.testing.assert_allclose(noise.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(noise.std((1, 2)), 1, rtol=1e-5)
    neighbours = [(noise * np.roll(noise, 1, axis)).mean((1, 2, 3)) for axis in (1, 2)]
    assert np.max(neighbours, axis=0).min() > 0.05


def test_painting_keeps_empty_pictures_plain(rng):
    painted = paint(np.zeros((3, 64, 64), np.uint8), np.zeros(3, bool), make_noise(2, 48, rng), rng)
    assert painted.shape == (3, 48, 48, 3)
    assert len(np.unique(painted)) == 1


def test_palettes_show_the_background_where_nothing_was_visited(rng):
    palette = _palettes(np.array([True, False]), np.array([False, False]), rng)
    assert palette.shape == (2, 256, 4)
    assert (palette[:, 0, 3] == 1).all()
    assert (palette[:, -1, 3] == 0).all()
    assert palette.min() >= 0
    assert palette.max() <= 1 + 1e-6


def test_blur_is_that_of_scipy_away_from_the_edges(rng):
    images, sigma = rng.random((2, 48, 48, 3)).astype(np.float32), np.array([0.7, 1.5])
    expected = [gaussian_filter(image, (s, s, 0), truncate=8) for image, s in zip(images, sigma, strict=True)]
    np.testing.assert_allclose(
        _blur(images, sigma)[:, 12:-12, 12:-12], np.stack(expected)[:, 12:-12, 12:-12], atol=1e-5
    )


def test_the_room_is_entered_without_torch():
    code = "import sys, sktl.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
