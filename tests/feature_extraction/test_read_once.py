"""Images that are made on access go through transformers, searches and comparisons, each made once."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.exceptions import BadImagesError
from sktl.feature_extraction import PixelFeatures
from sktl.images import _lazy, as_images
from sktl.near_duplicates import near_duplicate_groups

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 18, 3), dtype=np.uint8)
PIXELS[::2, :10] //= 3
Y = np.arange(12) % 2


class OnAccess:
    def __init__(self, make, n=12):
        self.make, self.asked = make, np.zeros(n, dtype=int)

    def __len__(self):
        return len(self.asked)

    def __getitem__(self, i):
        self.asked[i] += 1
        return self.make(i)


KINDS = {
    "PIL images": lambda i: Image.fromarray(PIXELS[i]),
    "pairs": lambda i: (PIXELS[i], Y[i]),
    "floats in [0, 1]": lambda i: (PIXELS[i] / 255).astype(np.float32),
}


@pytest.mark.parametrize("n_in_memory", [1, 12])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_transform_makes_each_image_once(kind, cache, n_in_memory, monkeypatch, tmp_path):
    monkeypatch.setattr(_lazy, "_MEMORY", n_in_memory * 20 * 18 * 12)
    X = OnAccess(KINDS[kind])
    extractor = PretrainedFeatureExtractor(image_size=24, cache=tmp_path if cache else False)
    found = extractor.fit_transform(X)
    np.testing.assert_array_equal(X.asked, 1)
    in_memory = [np.asarray(PIXELS[i] if kind == "pairs" else KINDS[kind](i)) for i in range(12)]
    expected = clone_without_store(extractor).fit_transform(in_memory)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(extractor.transform(X), expected)
    assert X.asked.max() <= 3
    for output in ("pandas", "default"):
        framed = clone_without_store(extractor).set_output(transform=output).fit_transform(OnAccess(KINDS[kind]))
        np.testing.assert_array_equal(np.asarray(framed), expected)
    assert isinstance(framed, np.ndarray)


def clone_without_store(extractor):
    return PretrainedFeatureExtractor(image_size=extractor.image_size, cache=False)


@pytest.mark.parametrize("cache", [True, False])
def test_memory_does_not_grow_with_the_number_of_images(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(_lazy, "_MEMORY", 2 << 20)
    X = OnAccess(lambda i: np.full((128, 128, 3), i % 251, np.uint8), n=500)
    extractor = PretrainedFeatureExtractor(image_size=16, cache=tmp_path if cache else False).fit(X)
    tracemalloc.start()
    try:
        extractor.fit_transform(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20 < 500 * 128 * 128 * 3


def test_a_frame_keeps_its_index_and_its_names(tmp_path):
    path = str(tmp_path / "a.png")
    Image.fromarray(PIXELS[0]).save(path)
    frame = pd.DataFrame({"path": [path, path]}, index=[7, 3])
    features = PixelFeatures(size=2).set_output(transform="pandas")
    assert features.fit_transform(frame).index.tolist() == [7, 3]
    assert features.feature_names_in_.tolist() == ["path"]


def test_pixel_features_make_each_image_once():
    X = OnAccess(KINDS["PIL images"])
    np.testing.assert_array_equal(PixelFeatures().fit_transform(X), PixelFeatures().fit_transform(PIXELS))
    np.testing.assert_array_equal(X.asked, 1)


def test_a_search_over_a_collection_makes_each_image_once():
    X = OnAccess(KINDS["PIL images"])
    classifier = FineTuneClassifier(augment=None, max_epochs=1, image_size=24, random_state=0)
    grid = {"unfreeze_depth": [0, 1]}
    search = GridSearchCV(classifier, grid, cv=2, error_score="raise").fit(as_images(X), Y)
    np.testing.assert_array_equal(X.asked, 1)
    again = GridSearchCV(classifier, grid, cv=2).fit(PIXELS, Y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])


def test_what_the_store_has_is_not_made_again_beyond_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(_lazy, "_MEMORY", 0)
    X = OnAccess(KINDS["PIL images"])
    images = as_images(X)
    classifier = FineTuneClassifier(unfreeze_depth=0, image_size=24, cache=tmp_path, random_state=0)
    classifier.fit(images, Y)
    X.asked[:] = 0
    for alpha in (0.1, 1.0):
        classifier.set_params(alpha=alpha).fit(images, Y)
        classifier.predict(images)
    assert np.count_nonzero(X.asked) <= 2  # the first ones, for the size of the pictures


def test_the_raw_sequence_gives_the_scores_of_the_collection():
    pipeline = make_pipeline(PretrainedFeatureExtractor(image_size=24), LogisticRegression())
    raw = cross_val_score(pipeline, OnAccess(KINDS["pairs"]), Y, cv=3)
    np.testing.assert_array_equal(raw, cross_val_score(pipeline, as_images(OnAccess(KINDS["pairs"])), Y, cv=3))
    np.testing.assert_array_equal(raw, cross_val_score(pipeline, PIXELS, Y, cv=3))


def test_a_comparison_makes_each_image_once():
    X = OnAccess(KINDS["pairs"])
    options = {"candidates": ["dummy", "pixels", "frozen"], "baseline": "pixels", "cv": 2, "image_size": 24}
    found = compare_transfer(X, Y, **options)
    np.testing.assert_array_equal(X.asked, 1)
    expected = compare_transfer(PIXELS, Y, **options)
    for name, scores in expected.scores.items():
        np.testing.assert_array_equal(found.scores[name], scores)


def test_a_comparison_names_the_image_that_cannot_be_made():
    def make(i):
        if i == 7:
            raise OSError("no such picture")
        return PIXELS[i]

    with pytest.raises(BadImagesError, match="image 7: X does not give it, OSError says: no such picture"):
        compare_transfer(OnAccess(make), Y, candidates=["dummy", "pixels"], baseline="pixels", cv=2)


def test_near_duplicates_are_found_with_each_image_made_once():
    X = OnAccess(lambda i: PIXELS[i // 2])
    found = near_duplicate_groups(X)
    np.testing.assert_array_equal(X.asked, 1)
    np.testing.assert_array_equal(found, near_duplicate_groups(PIXELS[np.arange(12) // 2]))
