"""skada's pipelines around sktl: on images and on stored vectors, with metadata routing left as the user had it."""

import importlib
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from sklearn import config_context, get_config
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.domain_adaptation import adapt_batch_norm

if find_spec("skada") is None:
    pytest.skip("needs the extra 'adapt'", allow_module_level=True)
with config_context():  # importing skada switches metadata routing on for the whole process
    import skada
    from skada import CORALAdapter, OTMappingAdapter, PerDomain, make_da_pipeline

STEPS = {
    "per-domain scaling": lambda: [PerDomain(StandardScaler())],
    "CORAL": lambda: [StandardScaler(), PCA(20, svd_solver="full"), CORALAdapter(reg=0.5)],
    "OT": lambda: [PCA(20, svd_solver="full"), OTMappingAdapter()],
}
DOMAIN = np.repeat([1, -2], 60)


@pytest.fixture(scope="module")
def digits():
    """Digits, of which the later ones are faint on a grey ground."""
    digits = load_digits()
    images = (digits.images[:120] * 15).astype(np.uint8)
    images[60:] = 90 + images[60:] // 3
    return images, digits.target[:120]


@pytest.fixture(scope="module")
def vectors(digits):
    return PretrainedFeatureExtractor(cache=False).fit_transform(digits[0])


def predicted(steps, X, y):
    with config_context(enable_metadata_routing=True):
        known = np.where(DOMAIN > 0, y, -1)
        model = make_da_pipeline(*steps, LinearProbeClassifier()).fit(X, known, sample_domain=DOMAIN)
        some = X[60:] if isinstance(X, list) else X[np.arange(60, 120)]
        return model.predict(some, sample_domain=DOMAIN[60:])


@pytest.mark.parametrize("name", STEPS)
def test_images_and_stored_vectors_give_the_same(digits, vectors, name, tmp_path):
    images, y = digits
    on_vectors = predicted(STEPS[name](), vectors, y)
    assert np.mean(on_vectors == y[60:]) > 0.4
    paths = [str(tmp_path / f"{i}.png") for i in range(120)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    for X in (images, paths, np.array(paths, dtype=object)):
        extractor = PretrainedFeatureExtractor()
        np.testing.assert_array_equal(predicted([extractor, *STEPS[name]()], X, y), on_vectors)


def test_scaling_each_domain_apart_helps_where_brightness_is_all(digits, vectors):
    _, y = digits
    plain = LinearProbeClassifier().fit(vectors[:60], y[:60]).predict(vectors[60:])
    assert np.mean(predicted(STEPS["per-domain scaling"](), vectors, y) == y[60:]) > np.mean(plain == y[60:]) + 0.1


def test_an_adapted_network_is_a_step_as_any_other(digits):
    images, y = digits
    extractor = PretrainedFeatureExtractor(adapt_batch_norm("tiny_fractal", images[60:]), cache=False)
    steps = STEPS["per-domain scaling"]()
    on_vectors = predicted(steps, extractor.fit_transform(images), y)
    np.testing.assert_array_equal(predicted([extractor, *steps], images, y), on_vectors)


def test_a_guarded_import_leaves_routing_as_it_was():
    """And one without a guard switches it on, or else the page warns of nothing."""
    assert get_config()["enable_metadata_routing"] is False
    with config_context(enable_metadata_routing=False):
        importlib.reload(skada)
        assert get_config()["enable_metadata_routing"] is True
    assert get_config()["enable_metadata_routing"] is False
