"""fit_ridge: scikit-learn's ridge on scaled features, leaving out by hand, and the better of two scalings."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from sktl.feature_extraction import ridge
from sktl.feature_extraction.ridge import fit_ridge, fit_scaled_ridge, scalings

SHAPES = {"more features than rows": (12, 30), "more rows than features": (40, 7), "square": (15, 15)}


def data(n_rows, n_features, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) * 10 ** rng.uniform(-3, 2, n_features) + rng.normal(size=n_features)
    Y = np.stack([X @ rng.normal(size=n_features), rng.normal(size=n_rows)], axis=1)
    return X, Y / Y.std(axis=0), rng.uniform(0.2, 3, n_rows)


def by_scikit_learn(X, y, weights, scale, alpha):
    # alpha stands beside the mean of the squared errors, scikit-learn's beside their sum.
    model = Ridge(alpha=alpha * weights.sum(), solver="cholesky").fit(X / scale, y, sample_weight=weights)
    return model.coef_ / scale, model.intercept_


@pytest.mark.parametrize("shape", SHAPES)
def test_coefficients_are_those_of_scikit_learn_on_scaled_features(shape):
    X, Y, weights = data(*SHAPES[shape])
    scale = np.linspace(1, 2, X.shape[1])
    fit = fit_scaled_ridge(X, Y, weights, scale, one_strength=False)
    for k, alpha in enumerate(fit.alpha):
        coef, intercept = by_scikit_learn(X, Y[:, k], weights, scale, alpha)
        assert_allclose(fit.coef[k], coef, rtol=1e-5, atol=1e-8)
        assert_allclose(fit.intercept[k], intercept, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_left_out_predictions_are_those_of_a_fit_without_the_row(shape):
    X, Y, weights = data(*SHAPES[shape])
    scale, shares = scalings(X, weights)[0], weights / weights.sum()
    fit = fit_scaled_ridge(X, Y, weights, scale, one_strength=True)
    for row in range(0, len(X), 3):
        others = np.arange(len(X)) != row
        # The sum of squares of the others beside the same penalty: their mean has a larger one.
        alpha = fit.alpha[0] / (1 - shares[row])
        coef, intercept = by_scikit_learn(X[others], Y[others], weights[others], scale, alpha)
        assert_allclose(fit.left_out[row], coef @ X[row] + intercept, rtol=1e-5, atol=1e-7)
    assert_allclose(fit.loss, shares @ np.square(Y - fit.left_out), rtol=1e-9)


def test_features_are_divided_by_the_root_of_their_deviation_or_by_it_with_a_floor():
    X, _, weights = data(12, 30)
    X[:, 0] = 7.0
    deviation = np.sqrt(np.average((X - np.average(X, axis=0, weights=weights)) ** 2, axis=0, weights=weights))
    root, floored = scalings(X, weights)
    assert_allclose(root[1:], np.sqrt(deviation[1:]))
    assert_allclose(floored[1:], np.sqrt(deviation[1:] ** 2 + (0.1 * deviation.mean()) ** 2))
    assert root[0] > 0 < floored[0]


@pytest.mark.parametrize("one_strength", [False, True])
def test_the_scaling_is_the_one_that_predicts_left_out_rows_better(one_strength):
    X, _, weights = data(40, 60)
    deviation = X.std(axis=0)
    small, large = deviation < np.quantile(deviation, 0.2), deviation > np.quantile(deviation, 0.8)
    # One target of what varies little and one of what varies much: each scaling is right for one of them.
    Y = np.stack([(X / deviation)[:, small].sum(axis=1), 1e-2 * X[:, large].sum(axis=1)], axis=1)
    both = [fit_scaled_ridge(X, Y, weights, scale, one_strength=one_strength) for scale in scalings(X, weights)]
    losses = np.stack([fit.loss for fit in both])
    assert (losses.argmin(axis=0) == [1, 0]).all()
    fit = fit_ridge(X, Y, weights, one_strength=one_strength)
    best = np.full(2, losses.sum(axis=1).argmin()) if one_strength else losses.argmin(axis=0)
    for k in range(2):
        assert_allclose(fit.coef[k], both[best[k]].coef[k])
        assert_allclose(fit.intercept[k], both[best[k]].intercept[k])
        assert_allclose(fit.left_out[:, k], both[best[k]].left_out[:, k])
        assert (fit.alpha[k], fit.loss[k]) == (both[best[k]].alpha[k], both[best[k]].loss[k])


@pytest.mark.parametrize("one_strength", [False, True])
def test_the_strength_is_the_best_of_all_for_rows_left_out(one_strength, monkeypatch):
    X, Y, weights = data(12, 30)
    scale, strengths, losses = np.ones(30), ridge._STRENGTHS, []
    fit = fit_scaled_ridge(X, Y, weights, scale, one_strength=one_strength)
    for strength in strengths:
        monkeypatch.setattr(ridge, "_STRENGTHS", np.array([strength]))
        alone = fit_scaled_ridge(X, Y, weights, scale, one_strength=one_strength)
        losses.append((np.average((Y - alone.left_out) ** 2, axis=0, weights=weights), alone.alpha[0]))
    errors, alphas = np.array([loss for loss, _ in losses]), np.array([alpha for _, alpha in losses])
    best = np.full(2, errors.sum(axis=1).argmin()) if one_strength else errors.argmin(axis=0)
    assert_allclose(fit.alpha, alphas[best])


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_in_blocks_give_the_same(shape, monkeypatch):
    arguments = data(*SHAPES[shape])
    whole = fit_ridge(*arguments, one_strength=True)
    monkeypatch.setattr(ridge, "_NUMBERS_IN_BLOCK", 40)
    blocks = fit_ridge(*arguments, one_strength=True)
    assert_allclose(blocks.coef, whole.coef, rtol=1e-7, atol=1e-12)
    assert_allclose(blocks.left_out, whole.left_out, rtol=1e-7, atol=1e-12)


def test_features_and_rows_give_the_same_solution():
    X, Y, weights = data(20, 20)
    wide = np.concatenate([X, np.zeros((20, 5))], axis=1)  # of no spread: the same problem by rows
    tall = np.concatenate([X, X[:5]]), np.concatenate([Y, Y[:5]]), np.r_[weights, np.full(5, 1e-300)]
    by_rows = fit_ridge(wide, Y, weights, one_strength=True)
    by_features = fit_ridge(*tall, one_strength=True)
    assert_allclose(by_rows.coef[:, :20], by_features.coef, rtol=1e-6, atol=1e-10)
    assert not by_rows.coef[:, 20:].any()


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_neither_units_nor_offsets_nor_the_sum_of_weights_matter(factor):
    X, Y, weights = data(12, 30)
    plain = fit_ridge(X, Y, weights, one_strength=True)
    other = fit_ridge(factor * (X + 3), Y, weights / factor, one_strength=True)
    assert_allclose(other.coef * factor, plain.coef, rtol=1e-5, atol=1e-9)
    assert_allclose(other.left_out, plain.left_out, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("n_rows", "value"), [(1, 2.0), (3, 2.0), (5, 0.0)])
def test_rows_that_are_all_the_same_give_the_mean(n_rows, value):
    X, Y = np.full((n_rows, 4), value), np.arange(2.0 * n_rows).reshape(-1, 2)
    fit = fit_ridge(X, Y, np.ones(n_rows), one_strength=True)
    assert not fit.coef.any()
    assert_allclose(fit.intercept, Y.mean(axis=0))
