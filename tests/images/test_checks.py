"""The door of the estimators, judged by scikit-learn's own battery on small estimators made of it."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sktl.images import check_images

N_VALUES = 48


class Pixels(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The first values of each picture."""

    def __init__(self, image_shape=None):
        self.image_shape = image_shape

    def fit(self, X, y=None):
        self.value_range_ = check_images(self, X, reset=True, image_shape=self.image_shape).learn_value_range()
        self._n_features_out = N_VALUES
        return self

    def transform(self, X):
        check_is_fitted(self)
        images = check_images(self, X, reset=False, image_shape=self.image_shape)
        images = images.with_value_range(self.value_range_, learned=True)
        values = np.array([np.resize(image[..., 0].ravel(), N_VALUES) for image in images], dtype=np.float32)
        return values.astype(X.dtype) if getattr(X, "dtype", None) == np.float64 else values

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "value_range_")


class PixelClassifier(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        if y is None:
            raise ValueError("PixelClassifier requires y to be passed, but the target y is None")
        self.pixels_ = Pixels()
        values = self.pixels_.fit_transform(_forwarded(self, X, reset=True))
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.model_ = LogisticRegression(max_iter=1000).fit(values, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        check_is_fitted(self)
        return self.model_.predict(self.pixels_.transform(_forwarded(self, X, reset=False)))


class PixelRegressor(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        if y is None:
            raise ValueError("PixelRegressor requires y to be passed, but the target y is None")
        self.pixels_ = Pixels()
        values = self.pixels_.fit_transform(_forwarded(self, X, reset=True))
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        self.model_ = Ridge().fit(values, y if y.ndim == 1 else column_or_1d(y, warn=True))
        return self

    def predict(self, X):
        check_is_fitted(self)
        return self.model_.predict(self.pixels_.transform(_forwarded(self, X, reset=False)))


def _forwarded(estimator, X, *, reset):
    """Let X in through the door of the outer estimator, and hand on the pictures."""
    return list(check_images(estimator, X, reset=reset))


@pytest.mark.parametrize(("estimator", "at_least"), [(Pixels(), 40), (PixelClassifier(), 50), (PixelRegressor(), 45)])
@pytest.mark.filterwarnings("ignore")
def test_the_door_breaks_no_check_of_scikit_learn(estimator, at_least):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = [(result["check_name"], result["exception"]) for result in results if result["status"] != "passed"]
    assert failed == []
    assert len(results) >= at_least


@pytest.fixture
def paths(tmp_path):
    paths = [str(tmp_path / f"{name}.png") for name in "abcd"]
    for i, path in enumerate(paths):
        Image.new("RGB", (8, 8), (40 * i, 0, 255)).save(path)
    return paths


def test_rows_count_and_name_their_features():
    frame = pd.DataFrame(np.random.default_rng(0).random((4, 9)), columns=list("abcdefghi"))
    pixels = Pixels().fit(frame)
    assert pixels.n_features_in_ == 9
    assert list(pixels.feature_names_in_) == list("abcdefghi")
    with pytest.raises(ValueError, match="8 features, but Pixels is expecting 9"):
        Pixels().fit(frame.to_numpy()).transform(np.zeros((2, 8)))
    with pytest.raises(ValueError, match="feature names"):
        pixels.transform(frame.rename(columns={"a": "z"}))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_column_of_paths_is_one_named_feature(frame, paths):
    pixels = Pixels().fit(frame({"path": paths}))
    assert pixels.n_features_in_ == 1
    assert list(pixels.feature_names_in_) == ["path"]
    np.testing.assert_array_equal(pixels.transform(paths), pixels.transform(frame({"path": paths})))
    with pytest.raises(ValueError, match="feature names"):
        pixels.transform(frame({"file": paths}))


def test_an_object_column_is_one_feature_without_a_name(paths):
    for X in (np.array(paths, dtype=object)[:, None], np.array(paths)[:, None], [[path] for path in paths]):
        pixels = Pixels().fit(X)
        assert pixels.n_features_in_ == 1
        assert not hasattr(pixels, "feature_names_in_")


def test_other_images_have_no_features_and_stale_ones_are_deleted(paths):
    pixels = Pixels()
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    strips = [np.zeros((1, 8)), np.zeros((1, 8))]
    for X in (paths, tuple(paths), pd.Series(paths), np.array(paths), pictures, list(pictures), strips):
        pixels.fit(pd.DataFrame({"path": paths}))
        pixels.fit(X).transform(X)
        assert not hasattr(pixels, "n_features_in_")
        assert not hasattr(pixels, "feature_names_in_")


def test_one_kind_of_images_may_follow_another(paths):
    expected = Pixels().fit(paths).transform(paths)
    pictures = np.stack([np.asarray(Image.open(path)) for path in paths])
    for fitted_on in (paths, pictures, pd.DataFrame({"path": paths})):
        pixels = Pixels().fit(fitted_on)
        for X in (paths, pictures, list(pictures), pd.Series(paths), pd.DataFrame({"path": paths})):
            np.testing.assert_array_equal(pixels.transform(X), expected)


def test_rows_and_images_do_not_mix(paths):
    rows = np.zeros((3, 9))
    with pytest.raises(ValueError, match="must be rows of numbers, as in fit"):
        Pixels().fit(rows).transform(paths)
    for X in (paths, pd.DataFrame({"path": paths})):
        for later in (rows, np.zeros((3, 1)), pd.DataFrame(rows)):
            with pytest.raises(ValueError, match="must be images, as in fit"):
                Pixels().fit(X).transform(later)


def test_image_shape_reaches_the_rows():
    rows = np.random.default_rng(0).random((2, 48))
    with pytest.raises(ValueError, match="image_shape must be given"):
        Pixels().fit(rows).transform(rows)
    values = Pixels(image_shape=(4, 4, 3)).fit(rows).transform(rows.astype(np.float32))
    np.testing.assert_array_equal(values[:, :16], rows.astype(np.float32)[:, ::3])


def test_values_beyond_float32_are_a_clean_error():
    with pytest.raises(ValueError, match="infinity or a value too large"):
        Pixels().fit(np.full((3, 4), 1e300))


def test_a_column_transformer_hands_over_paths(paths):
    frame = pd.DataFrame({"path": paths, "age": [1.0, 2.0, 3.0, 4.0]})
    expected = Pixels().fit(paths).transform(paths)
    for column in ("path", ["path"]):
        transformer = ColumnTransformer([("pixels", Pixels(), column)])
        np.testing.assert_array_equal(transformer.fit_transform(frame), expected)


def test_two_dimensional_tensors_are_rows():
    import torch

    pixels = Pixels().fit(torch.ones(3, 4, requires_grad=True))
    assert pixels.n_features_in_ == 4


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([{"a": 1}, {"a": 2}], "an object of type dict"),
        ([object(), object()], "an object of type object"),
        ([[1.0, {"a": 1}], [0.0, 1.0]], "an object of type dict"),
        (np.array([[1.0, None], [2.0, "x" * 10**6]], dtype=object), "(object of type NoneType|the text 'x+…x+')"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, "y" * 10**6]}), "the text 'y+…y+'"),
        ([[1.0, 2.0], [3.0]], "rows of several lengths"),
        ([np.zeros(3, np.uint8), np.zeros(4, np.uint8)], "rows of several lengths"),
        (np.array([[{1}, 2.0]], dtype=object), "an object of type set"),
    ],
)
def test_what_is_neither_image_nor_number_is_named(X, message):
    fitted_on_images = Pixels().fit(np.zeros((2, 5, 5, 3), np.uint8))
    for act in (Pixels().fit, fitted_on_images.transform):
        with pytest.raises((TypeError, ValueError), match=rf"X must be images or rows of numbers.*{message}") as caught:
            act(X)
        assert "float()" not in str(caught.value)
        assert len(str(caught.value)) < 400
