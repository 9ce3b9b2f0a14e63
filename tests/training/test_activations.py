"""The frozen part of every image is computed once, and everything built on it is what the plain road gives."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing
from sktl.images import as_images
from sktl.inference import Placement, StoreInfo
from sktl.models import load_model, save_model
from sktl.store import open_store
from sktl.training import _activations

NETWORKS = [
    ("tiny_fractal", 16),
    pytest.param("resnet18", 64, marks=pytest.mark.slow),
    pytest.param("mobilenet_v2", 64, marks=pytest.mark.slow),
    pytest.param("vit_b_16", 224, marks=pytest.mark.slow),
]


def pictures(n, side=32, n_classes=2, seed=0):
    """Distinct noise with a class-dependent stripe."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 120, (n, side, side, 3), dtype=np.uint8)
    y = np.arange(n) % n_classes
    for k in range(n_classes):
        X[y == k, :, k * 8 : k * 8 + 8, 0] += 130
    return X, y


def weights_of(model):
    return model.module_.state_dict()


def assert_same_weights(a, b):
    a, b = weights_of(a), weights_of(b)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("backbone", "size"), NETWORKS)
def test_stored_kept_and_recomputed_prefixes_give_the_same_network(backbone, size, monkeypatch):
    """Promise 4, for the store as well: fresh, filled, and without."""
    from sktl.backbones import load_backbone

    record = load_backbone(backbone, None if backbone != "tiny_fractal" else "default", random_state=0)
    X, y = pictures(12)
    settings = {"unfreeze_depth": 1, "max_epochs": 2, "image_size": size, "random_state": 0}
    plain = FineTuneClassifier(record, cache=False, **settings).fit(X, y)
    fresh = FineTuneClassifier(record, **settings).fit(X, y)
    filled = FineTuneClassifier(record, **settings).fit(X, y)
    assert filled.store_info_.n_misses == 0
    monkeypatch.setattr(_activations, "_MEMORY", 0)
    recomputed = FineTuneClassifier(record, cache=False, **settings)
    with monkeypatch.context() as patched:
        patched.setattr(
            _activations.Activations.__init__,
            "__kwdefaults__",
            {**_activations.Activations.__init__.__kwdefaults__, "memory": 0},
        )
        recomputed.fit(X, y)
        from_store = FineTuneClassifier(record, **settings).fit(X, y)
    for model in (fresh, filled, recomputed, from_store):
        assert_same_weights(plain, model)
        assert_array_equal(plain.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(("backbone", "size"), NETWORKS[:3])
def test_the_network_fitted_predicts_what_the_estimator_does(backbone, size):
    X, y = pictures(10)
    model = FineTuneClassifier(backbone, weights="default" if backbone == "tiny_fractal" else None, image_size=size)
    if backbone != "tiny_fractal":
        from sktl.backbones import load_backbone

        model.set_params(backbone=load_backbone(backbone, None, random_state=0), weights="default")
    model.set_params(unfreeze_depth=1, max_epochs=2, random_state=0).fit(X, y)
    preprocessing = model.module_.preprocessing
    batch = torch.from_numpy(np.stack([preprocessing.prepare(image) for image in X]))
    with torch.no_grad():
        logits = model.module_.eval()(batch).softmax(1)
    # Random networks of many layers make nearly the same features of all images, which rounding tells apart as well.
    assert_allclose(model.predict_proba(X), logits, atol=1e-4 if backbone == "tiny_fractal" else 1e-2)


def test_a_grid_over_depths_and_folds_sends_each_image_through_the_prefix_once_per_cut(monkeypatch):
    X, y = pictures(20)
    prepared = []
    prepare = Preprocessing.prepare
    monkeypatch.setattr(Preprocessing, "prepare", lambda self, image: prepared.append(1) or prepare(self, image))
    model = FineTuneClassifier(augment=None, max_epochs=1, random_state=0, batch_size=4)
    grid = GridSearchCV(model, {"unfreeze_depth": [0, 1, 2]}, cv=3, refit=False).fit(X, y)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    assert len(prepared) == 3 * 20
    for depth in (0, 1, 2):
        again = clone(model).set_params(unfreeze_depth=depth).fit(X, y)
        again.predict(X)
        assert (again.store_info_.n_misses, again.store_info_.n_hits) == (0, 40)
    assert len(prepared) == 3 * 20


@pytest.mark.slow
def test_a_grid_with_views_sends_each_view_of_each_image_through_the_prefix_once_per_cut(monkeypatch):
    X, y = pictures(40)
    infos = []
    monkeypatch.setattr(
        "sktl.fine_tuning._estimator.StoreInfo", lambda *args: infos.append(StoreInfo(*args)) or infos[-1]
    )
    model = FineTuneClassifier(max_epochs=3, random_state=0)
    grid = GridSearchCV(model, {"unfreeze_depth": [0, 1, 2]}, cv=5, refit=False).fit(X, y)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    # Plain at three cuts; at two of them the mirror image, that mirroring is judged by, and a view for each epoch: the
    # first two are those that views are judged by.
    assert sum(info.n_misses for info in infos) == 40 * (3 + 2 + 2 * 3)


def test_depth_0_is_the_exact_linear_probe():
    """The oracle: the probe in a pipeline, on the same embeddings."""
    X, y = pictures(30, n_classes=3)
    oracle = make_pipeline(PretrainedFeatureExtractor(), LinearProbeClassifier())
    expected = oracle.fit(X, y).predict_proba(X)
    model = FineTuneClassifier(unfreeze_depth=0).fit(X, y)
    assert_allclose(model.predict_proba(X), expected, atol=1e-5)
    assert (model.predict(X) == oracle.predict(X)).all()


def test_depth_0_and_the_extractor_share_their_vectors(passes):
    X, y = pictures(20)
    PretrainedFeatureExtractor().fit_transform(X)
    before = len(passes)
    model = FineTuneClassifier(unfreeze_depth=0).fit(X, y)
    assert len(passes) == before
    assert model.store_info_.n_hits == 20


def test_a_pickled_model_predicts_the_same_from_weights_of_its_own():
    import pickle

    X, y = pictures(12)
    model = FineTuneClassifier(unfreeze_depth=1, max_epochs=2, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_a_store_that_would_be_filled_up_is_left_alone(monkeypatch):
    X, y = pictures(12)
    monkeypatch.setenv("SKTL_CACHE_SIZE", "10KB")
    model = FineTuneClassifier(unfreeze_depth=1, max_epochs=1, random_state=0).fit(X, y)
    assert model.store_info_.path is None


def test_fixed_views_are_computed_once_and_take_turns(passes):
    X, y = pictures(16)
    settings = {"unfreeze_depth": 1, "augment": "light", "n_views": 2, "max_epochs": 6, "random_state": 0}
    first = FineTuneClassifier(**settings).fit(X, y)
    n_once = len(passes)
    assert first.store_info_.n_misses == 3 * 16
    second = FineTuneClassifier(**settings).fit(X, y)
    assert len(passes) == n_once
    assert_same_weights(first, second)
    assert_same_weights(first, FineTuneClassifier(cache=False, **settings).fit(X, y))


def test_new_views_in_every_epoch_are_not_stored():
    X, y = pictures(16)
    model = FineTuneClassifier(unfreeze_depth=1, augment="light", n_views=None, max_epochs=3, random_state=0)
    for n_hits in (0, 16):  # the plain images, for the probe
        model.fit(X, y)
        assert (model.store_info_.n_hits, model.store_info_.n_misses) == (n_hits, 16 * 4 - n_hits)
    assert len(np.unique(model.history_[:, "train_loss"])) == 3


@pytest.mark.parametrize(("room", "n_views"), [(100, 8), (9, 8), (5, 4), (3, 2), (2.9, 2), (0, 2)])
def test_there_are_as_many_views_as_fit_into_memory_and_two_at_least(room, n_views):
    X, _ = pictures(6)
    images = as_images(X)
    frozen_part = StubFrozenPart()
    activations = _activations.Activations(
        frozen_part, images, None, augment="light", n_views="auto", memory=room * 6 * StubFrozenPart.n_bytes
    )
    numbers = [activations._number(number) for number in range(1, 20)]
    assert max(numbers) == n_views


@pytest.mark.parametrize(
    ("device", "free", "home"), [("cuda", 2000, "cuda"), ("cuda", 1999, "cpu"), ("cpu", 9999, "cpu")]
)
def test_activations_are_kept_on_a_device_with_twice_the_room(device, free, home, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**6))
    frozen_part = object.__new__(_activations.FrozenPart)
    frozen_part._placement = Placement(torch.device(device), torch.float32)
    assert frozen_part.home(1000) == torch.device(home)


def test_activations_are_read_from_where_they_are_kept(monkeypatch):
    X, _ = pictures(6)
    monkeypatch.setattr(StubFrozenPart, "home", lambda self, n_bytes: torch.device("meta"))
    activations = _activations.Activations(StubFrozenPart(), as_images(X), None)
    batch = activations.view(np.array([0, 4]), 0)
    assert (batch.device.type, batch.shape) == ("meta", (2, 3))


class StubFrozenPart:
    """Says how large an activation is."""

    n_bytes = 1000

    def bytes_per_image(self, images):
        return self.n_bytes

    def may_store(self, n_images):
        return False

    def home(self, n_bytes):
        return torch.device("cpu")

    def vectors(self, images, preprocessing, *, use_store, verbose):
        return torch.zeros(len(images), 3)

    def activations(self, vectors):
        return vectors


@pytest.mark.parametrize("depth", [0, 1])
def test_few_images_of_a_fine_tuned_model_read_from_a_file_are_not_kept(three_patterns, depth, tmp_path):
    X, y = three_patterns
    model = FineTuneClassifier(unfreeze_depth=depth, max_epochs=1, augment=None, random_state=0).fit(X[:20], y[:20])
    n_rows = open_store().usage().n_vectors
    save_model(model, tmp_path / "model.safetensors")
    for served in (load_model(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        n_before = served.store_info_.n_misses
        served.predict(X[20:])
        assert served.store_info_.n_misses == n_before + 10
        assert open_store().usage().n_vectors == n_rows
    model.predict(X[20:])  # of the estimator that was just fitted, as within a fold
    assert open_store().usage().n_vectors == n_rows + 10
