"""on_error="skip": what cannot be read is left out of the training with its label, weight and group, and is named."""

import io

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from scipy.sparse import coo_matrix
from sklearn.base import clone
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.exceptions import ImageReadError
from sktl.models import load_model, save_model

QUICK = {"unfreeze_depth": 0, "max_epochs": 2, "random_state": 0}
BAD = [1, 7]


def encoded(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


def as_files(X, folder):
    for i, picture in enumerate(X):
        (folder / f"{i:02}.png").write_bytes(encoded(picture))
    (folder / "01.png").write_bytes(encoded(X[1])[:60])
    (folder / "07.png").unlink()
    return [folder / f"{i:02}.png" for i in range(len(X))]


def as_bytes(X, folder):
    return [b"no picture" if i in BAD else encoded(picture) for i, picture in enumerate(X)]


def as_arrays(X, folder):
    X = X / 255
    X[BAD] = np.nan
    return X


def as_frame(X, folder):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"image": list(map(str, as_files(X, folder)))}, index=np.arange(len(X)) + 100)


KINDS = pytest.mark.parametrize("kind", [as_files, as_bytes, as_arrays, as_frame])


@KINDS
@pytest.mark.parametrize("depth", [0, 1])
def test_the_rest_is_learnt_as_if_the_bad_ones_had_not_been_there(three_patterns, tmp_path, kind, depth):
    X, y = three_patterns
    y = np.array(["a", "b", "c"])[y]
    y[BAD] = "d"  # a class of bad images alone is none
    weights, kept = np.linspace(0, 2, len(y)), np.delete(np.arange(len(y)), BAD)
    rows = kind(X, tmp_path)
    model = FineTuneClassifier(on_error="skip", **{**QUICK, "unfreeze_depth": depth, "augment": None})
    with pytest.warns(UserWarning, match=r"2 of 30 images of X cannot be read .* out: image 1\b.*; image 7\b"):
        model.fit(rows, y, sample_weight=weights)
    assert [error.index for error in model.bad_images_] == BAD
    assert model.classes_.tolist() == ["a", "b", "c"]
    good = rows.iloc[kept] if hasattr(rows, "iloc") else [rows[i] for i in kept]
    again = clone(model).fit(good, y[kept], sample_weight=weights[kept])
    assert again.bad_images_ == []
    assert_array_equal(model.predict_proba(good), again.predict_proba(good))


@KINDS
def test_by_default_and_in_prediction_a_bad_image_is_an_error(three_patterns, tmp_path, kind):
    X, y = three_patterns
    rows = kind(X, tmp_path)
    with pytest.raises(ImageReadError, match=r"image [17]\b"):
        FineTuneClassifier(**QUICK).fit(rows, y)
    model = FineTuneClassifier(on_error="skip", **QUICK)
    with pytest.warns(UserWarning, match="cannot be read"):
        model.fit(rows, y)
    with pytest.raises(ImageReadError, match=r"image [17]\b"):
        model.predict(rows)


def test_groups_and_validation_data_are_left_out_too(three_patterns):
    X, y = three_patterns
    rows, groups = as_bytes(X, None), np.repeat(np.arange(10), 3)
    model = FineTuneRegressor(on_error="skip", early_stopping=True, head=[4], **QUICK)
    with pytest.warns(UserWarning, match="2 of 30 images of X"):
        model.fit(rows, list(1.0 * y), groups=list(groups))
    with pytest.warns(UserWarning, match="2 of 30 images of validation"):
        model.fit(X[10:], y[10:], validation=(rows, y))
    assert model.bad_images_ == []
    with pytest.warns(UserWarning, match="2 of 30 images of X"):
        model.partial_fit(rows, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(rows, y[1:])


def test_many_bad_images_are_not_all_named_in_the_warning(three_patterns):
    X, y = three_patterns
    rows = [encoded(picture) if i % 10 == 9 or i < 3 else b"" for i, picture in enumerate(X)]
    model = make_pipeline(FineTuneClassifier(on_error="skip", **QUICK))
    with pytest.warns(UserWarning, match=r"24 of 30 .* and 4 more\. bad_images_ lists them") as caught:
        model.fit(rows, y)
    assert len(caught) == 1
    assert len(model[0].bad_images_) == 24


def test_nothing_that_can_be_read_is_an_error(three_patterns):
    with pytest.raises(ImageReadError, match="image 0"):
        FineTuneClassifier(on_error="skip", **QUICK).fit([b"", b""], [0, 1])


def test_a_model_file_keeps_the_policy(patterns, tmp_path):
    X, y = patterns
    save_model(FineTuneClassifier(on_error="skip", **QUICK).fit(X, y), tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    assert (model.on_error, model.bad_images_) == ("skip", [])


@pytest.mark.filterwarnings("ignore:2 of 30 images of X cannot be read")
def test_a_splitter_knows_the_rows_as_they_were_passed(three_patterns, tmp_path):
    X, y = three_patterns
    held_out = np.where(np.arange(len(X)) >= 24, 0, -1)
    splits = []

    class Watched(PredefinedSplit):
        def split(self, X=None, y=None, groups=None):
            splits.append(len(X))
            return super().split(X, y, groups)

    settings = {**QUICK, "unfreeze_depth": 1, "augment": None, "on_error": "skip", "early_stopping": True}
    files = as_files(X, tmp_path)
    model = FineTuneClassifier(**settings).fit(files, y, validation=Watched(held_out))
    assert splits == [30]
    good = np.delete(np.arange(30), BAD)
    other = FineTuneClassifier(**settings).fit(
        [files[i] for i in good], y[good], validation=PredefinedSplit(held_out[good])
    )
    assert_array_equal(model.predict_proba(X), other.predict_proba(X))


@pytest.mark.filterwarnings("ignore:2 of 30 images of X cannot be read")
def test_weights_that_are_one_number_and_sparse_labels_are_taken_along(three_patterns, tmp_path):
    X, y = three_patterns
    several = coo_matrix(np.stack([y == 0, y > 0, y == 2], axis=1).astype(int))
    model = FineTuneClassifier(on_error="skip", **QUICK).fit(as_files(X, tmp_path), several, sample_weight=2.0)
    assert len(model.bad_images_) == 2
