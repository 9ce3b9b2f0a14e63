"""The detector: finds what was planted, says where, and gives the same whatever the batch size and order."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from sktl import PatchAnomalyDetector, PretrainedFeatureExtractor
from sktl.anomaly_detection import _patch_anomaly_detector
from sktl.exceptions import ImageReadError


def textures(n, seed=0, height=48, width=48):
    """Stripes of random phase and contrast, with noise."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(width) / 2 + rng.uniform(0, 6, (n, 1, 1))) * rng.uniform(40, 60, (n, 1, 1)) + 120
    return np.clip(waves[..., None] + rng.normal(0, 8, (n, height, width, 3)), 0, 255).astype(np.uint8)


def with_spots(X, seed=1):
    """Each picture with a spot, and where that is."""
    rng = np.random.default_rng(seed)
    X, where = X.copy(), np.zeros(X.shape[:3], dtype=bool)
    for picture, mask in zip(X, where, strict=True):
        top, left = rng.integers(4, 36, 2)
        mask[top : top + 8, left : left + 8] = True
        picture[mask] = 230
    return X, where


@pytest.fixture(scope="module")
def fitted():
    return PatchAnomalyDetector(random_state=0, cache=False).fit(textures(40))


def test_finds_spots_and_where_they_are(fitted):
    normal, (odd, where) = textures(20, seed=2), with_spots(textures(20, seed=3))
    scores = fitted.score_samples(np.concatenate([normal, odd]))
    assert roc_auc_score(np.repeat([1, 0], 20), scores) > 0.98
    assert (fitted.predict(odd) == -1).mean() > 0.9
    assert (fitted.predict(normal) == 1).mean() > 0.9
    maps = fitted.anomaly_map(odd)
    assert maps.shape == (20, 48, 48)
    assert maps.dtype == np.float32
    assert roc_auc_score(where.ravel(), maps.ravel()) > 0.85  # a place has 8 pixels, and a spot no more


@pytest.mark.slow
def test_a_finer_grid_says_more_exactly_where():
    odd, where = with_spots(textures(20, seed=3))
    finer = PatchAnomalyDetector(random_state=0, image_size=96, cache=False).fit(textures(40))
    assert roc_auc_score(where.ravel(), finer.anomaly_map(odd)[:, ::2, ::2].ravel()) > 0.95


def test_scores_and_maps_follow_from_the_stage_maps(fitted):
    X = textures(3, seed=5)
    extractors = [PretrainedFeatureExtractor(layer=name, pooling="flatten", cache=False) for name in fitted.layers_]
    relative = []
    for number, (extractor, maker) in enumerate(zip(extractors, fitted._makers, strict=True)):

        def distances(picture, bank):
            patches = maker(torch.from_numpy(extractor.transform(picture[None])[0])).numpy()  # noqa: B023
            return cdist(patches.astype(float), bank.astype(float)).min(1)

        extractor.fit(X)
        bank, images = fitted.patches_[number], fitted._banks[number].images
        normal = np.array([distances(one, bank[images != i]) for i, one in enumerate(textures(40))])
        usual = np.maximum(np.percentile(normal, 90, axis=0), np.percentile(normal, 90))
        relative.append(np.concatenate([normal, [distances(one, bank) for one in X]]) / usual)
    relative = np.mean(relative, axis=0)  # (images, places)
    relative /= np.median(relative[:40].max(1))  # 1 % of 36 places is one
    assert_allclose(fitted.score_samples(X), -relative[40:].max(1), rtol=1e-4)
    # Linear interpolation between the middles of the places, written as matrices.
    weights = np.maximum(0, 1 - abs((np.arange(48)[:, None] + 0.5) / 8 - 0.5 - np.arange(-1, 7)))
    weights = np.column_stack([weights[:, 0] + weights[:, 1], weights[:, 2:6], weights[:, 6] + weights[:, 7]])
    for found, rows in zip(fitted.anomaly_map(X), relative[40:].reshape(3, 6, 6), strict=True):
        assert_allclose(found, gaussian_filter(weights @ rows @ weights.T, 48 * 4 / 224), rtol=1e-3, atol=1e-4)


@pytest.fixture(params=[pytest.param("all patches", marks=pytest.mark.slow), "some patches"])
def candidates(request, monkeypatch):
    if request.param == "some patches":
        monkeypatch.setattr(_patch_anomaly_detector, "_CANDIDATES", 200)
        monkeypatch.setattr(_patch_anomaly_detector, "_MEASURED", 10)


@pytest.mark.usefixtures("candidates")
def test_nothing_depends_on_order_batch_size_or_threads(monkeypatch):
    X, tests = textures(36), with_spots(textures(5, seed=3))[0]
    expected = PatchAnomalyDetector(random_state=3, max_patches=60, cache=False).fit(X)
    scores, maps = expected.score_samples(tests), expected.anomaly_map(tests)
    order = np.random.default_rng(0).permutation(36)
    monkeypatch.setattr(_patch_anomaly_detector, "_BYTES_AT_A_TIME", 1)
    for change in ({"batch_size": 3, "n_jobs": 3}, {"cache": True, "batch_size": 7}):
        params = {"random_state": 3, "max_patches": 60, "cache": False, **change}
        model = PatchAnomalyDetector(**params).fit(X[order])
        for found, wanted in zip(model.patches_, expected.patches_, strict=True):
            assert_array_equal(found, wanted)
        assert model.offset_ == expected.offset_
        assert_array_equal(model.score_samples(tests), scores)
        assert_array_equal(model.anomaly_map(tests[::-1])[::-1], maps)
    assert_array_equal(expected.score_samples(X[order]), expected.score_samples(X)[order])
    other = PatchAnomalyDetector(random_state=4, max_patches=60, cache=False).fit(X)
    assert not np.array_equal(other.score_samples(tests), scores)


@pytest.mark.slow
def test_candidates_are_bounded_however_many_images_there_are(monkeypatch):
    counted = []
    remember = _patch_anomaly_detector.remember

    def counting(patches, *arguments):
        counted.append(len(patches))
        return remember(patches, *arguments)

    monkeypatch.setattr(_patch_anomaly_detector, "_CANDIDATES", 400)
    monkeypatch.setattr(_patch_anomaly_detector, "remember", counting)
    for n in (5, 80):
        PatchAnomalyDetector(random_state=0, max_patches=20).fit(textures(n))
    assert counted[:3] == [5 * 36] * 3
    assert all(300 < n < 500 for n in counted[3:])


@pytest.mark.slow
def test_the_score_is_the_mean_of_the_farthest_hundredth():
    params = {"layer": "stage2", "image_size": 120, "max_patches": 30, "random_state": 0, "cache": False}
    model = PatchAnomalyDetector(**params).fit(textures(4))
    (distances,) = model._distances(model._images(textures(1, seed=9)))
    expected = np.sort(distances.numpy().astype(float)[0] / model._usual[0])[-2:].mean()
    assert model.grid_shape_ == (15, 15)  # of 225 places
    assert_allclose(model.score_samples(textures(1, seed=9)), -expected, rtol=1e-6)


def test_what_is_usual_is_learnt_from_a_bounded_number_of_images(monkeypatch):
    counted = []

    def counting(distances):
        counted.append(distances.shape)
        return np.ones(distances.shape[1:])

    monkeypatch.setattr(_patch_anomaly_detector, "usual_distances", counting)
    monkeypatch.setattr(_patch_anomaly_detector, "_MEASURED", 5)
    model = PatchAnomalyDetector(random_state=0, contamination=0.25).fit(textures(12))
    monkeypatch.setattr(_patch_anomaly_detector, "_BYTES_OF_MEASURED", 4 * 3 * 36 * 3)
    PatchAnomalyDetector(random_state=0).fit(textures(12))
    assert counted == [(5, 3, 36), (3, 3, 36)]
    assert (model.predict(textures(12)) == -1).sum() == 3  # the line is drawn through the scores of all


def test_a_small_difference_counts_beside_a_place_where_normal_images_differ_much():
    def with_noise(X, seed):
        X = X.copy()
        X[:, 4:20, 4:20] = np.random.default_rng(seed).integers(0, 256, (len(X), 16, 16, 3))
        return X

    model = PatchAnomalyDetector(random_state=0, cache=False).fit(with_noise(textures(40), seed=0))
    normal, odd = with_noise(textures(20, seed=2), seed=3), with_noise(textures(20, seed=4), seed=5)
    odd[:, 32:40, 32:40] = np.minimum(odd[:, 32:40, 32:40], 215) + 40
    assert roc_auc_score(np.repeat([1, 0], 20), model.score_samples(np.concatenate([normal, odd]))) > 0.93


def test_anomalies_among_the_training_images_are_found():
    X = textures(40)
    X[[4, 17]] = with_spots(X[[4, 17]])[0]
    model = PatchAnomalyDetector(random_state=0, cache=False)
    found = np.flatnonzero(model.fit_predict(X) == -1)
    assert {4, 17} <= set(found.tolist())
    assert len(found) < 5
    scores = model.score_samples(X)
    lower, upper = np.quantile(scores, [0.25, 0.75])
    assert model.offset_ == pytest.approx(lower - 1.5 * (upper - lower))
    model.set_params(contamination=0.05).fit(X)
    assert np.flatnonzero(model.predict(X) == -1).tolist() == [4, 17]


@pytest.mark.slow
def test_the_offset_suits_images_that_were_not_seen():
    model = PatchAnomalyDetector(random_state=0, contamination=0.2, cache=False).fit(textures(60))
    assert (model.predict(textures(60)) == -1).sum() == 12
    share = (model.predict(textures(100, seed=8)) == -1).mean()
    assert 0.08 < share < 0.35


@pytest.mark.slow
def test_the_whole_picture_is_looked_at():
    X = textures(30, height=40, width=120)
    model = PatchAnomalyDetector(random_state=0, cache=False).fit(X[2:])
    X[0, 16:26, 108:118] = 255
    assert model.predict(X[:2]).tolist() == [-1, 1]
    assert np.unravel_index(model.anomaly_map(X[:1])[0].argmax(), (48, 48))[1] > 40


def test_stage_maps_come_from_the_store_where_it_has_room(passes, monkeypatch):
    X = textures(40)
    model = PatchAnomalyDetector(random_state=0).fit(X)
    assert model.store_info_.n_misses == 40
    assert model.store_info_.n_hits == 40
    passes.clear()
    again = PatchAnomalyDetector(random_state=0).fit(X)
    assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert not passes
    monkeypatch.setenv("SKTL_CACHE_SIZE", "100KB")
    small = PatchAnomalyDetector(random_state=0).fit(X)
    assert (small.store_info_.n_hits, small.store_info_.n_misses) == (0, 80)
    assert_array_equal(small.score_samples(X), model.score_samples(X))


@pytest.mark.slow
def test_layers_and_image_size_set_the_grid():
    X = textures(6)
    for params, grid, widths in (
        ({"layer": "stage2"}, (6, 6), [48]),
        ({"layer": ["stage1", 1], "image_size": 32}, (4, 4), [24, 96]),
        ({"layer": 0, "n_components": 100}, (3, 3), [100]),
    ):
        model = PatchAnomalyDetector(random_state=0, cache=False, **params).fit(X)
        assert model.grid_shape_ == grid
        assert [patches.shape[1] for patches in model.patches_] == widths
        assert model.anomaly_map(X[:1]).shape[1] == params.get("image_size", 48)


@pytest.mark.parametrize("layer", [[], ["stage1", "stage1"], 5, "stage9"])
def test_a_wrong_layer_is_refused(layer):
    with pytest.raises(ValueError, match="layer must"):
        PatchAnomalyDetector(layer=layer).fit(textures(2))


@pytest.mark.slow
def test_a_stage_without_places_is_refused():
    with pytest.raises(ValueError, match=r"layer must name stages that give maps.*Got one .* \(768,\) instead"):
        PatchAnomalyDetector("convnext_tiny", weights=None, layer=0, image_size=32).fit(textures(2))


def test_images_that_cannot_be_read_are_named(fitted, tmp_path):
    paths = []
    for i, picture in enumerate(textures(3)):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(picture).save(paths[-1])
    assert len(fitted.score_samples(paths)) == 3
    (tmp_path / "1.png").write_bytes(b"no picture")
    for act in (fitted.anomaly_map, PatchAnomalyDetector().fit):
        with pytest.raises(ImageReadError, match="image 1"):
            act(paths)


@pytest.mark.slow
def test_pyod_takes_embeddings_as_the_page_says():
    pytest.importorskip("pyod")
    page = (Path(__file__).parents[2] / "docs" / "user_guide" / "anomaly_detection.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python notest\n(.*?)```", page, re.DOTALL)
    X = textures(30)
    names = {"PretrainedFeatureExtractor": PretrainedFeatureExtractor, "normal": X, "new": with_spots(X)[0]}
    exec(code, names)
    assert names["labels"].mean() > 0.8


def test_pickles_score_the_same_and_unfitted_ones_not_at_all(fitted):
    X = textures(4, seed=6)
    other = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(other.score_samples(X), fitted.score_samples(X))
    assert_array_equal(other.anomaly_map(X), fitted.anomaly_map(X))
    for method in ("score_samples", "decision_function", "predict", "anomaly_map"):
        with pytest.raises(NotFittedError):
            getattr(PatchAnomalyDetector(), method)(X)
