"""Checks of what an estimator may be given as X: every form of pictures, and what is refused with which words.

In the style of `sklearn.utils.estimator_checks`, as in `image_estimator_checks`.
"""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from image_inputs import (
    HEIGHT,
    N_IMAGES,
    WIDTH,
    fitted,
    folder,
    is_trained,
    kinds_in_memory,
    kinds_of_files,
    outputs,
    paths,
    pictures,
    targets,
)
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone

from sktl.exceptions import ImageReadError


def check_any_kind_of_images_after_fit(estimator):
    model = fitted(estimator)
    expected = outputs(model, pictures())
    assert len(np.unique(expected, axis=0)) > 1, "the pictures cannot be told apart, so nothing can be compared"
    for name, X in (kinds_in_memory() | kinds_of_files()).items():
        assert_array_equal(outputs(model, X), expected, err_msg=name)


def check_any_kind_of_images_in_fit(estimator):
    # Files are put in another order than pixels, by their digest, before a network is trained on them.
    for kinds in (kinds_in_memory(), kinds_of_files()):
        expected = None
        for name, X in kinds.items():
            found = outputs(fitted(estimator, X), pictures())
            expected = found if expected is None else expected
            assert_array_equal(found, expected, err_msg=name)


def check_grey_images(estimator):
    grey = pictures()[..., 0]
    expected = outputs(fitted(estimator, np.repeat(grey[..., None], 3, axis=3)), grey)
    for name, X in {
        "NHW": grey,
        "NHW1": grey[..., None],
        "N1HW": grey[:, None],
        "PIL": [Image.fromarray(picture) for picture in grey],
        "tensor": torch.from_numpy(grey.copy()),
    }.items():
        assert_array_equal(outputs(fitted(estimator, X), X), expected, err_msg=name)


def check_bool_images(estimator):
    X = pictures() > 100
    assert_array_equal(
        outputs(fitted(estimator, X), X), outputs(fitted(estimator, X.astype(np.uint8) * 255), X * np.uint8(255))
    )


def check_float_images_in_unit_range(estimator):
    X = pictures()
    model = fitted(estimator, X)
    assert model.value_range_ is None
    unit = (X / 255).astype(np.float32)
    in_floats = fitted(estimator, unit)
    assert in_floats.value_range_ == (0.0, 1.0)
    # Bytes are rounded once when they are resized, floats are not. Upside down, since a detector knows those of fit.
    expected = outputs(model, X[:, ::-1])
    assert_allclose(outputs(model, unit[:, ::-1]), expected, atol=0.05 * np.ptp(expected))
    for other in (unit.astype(np.float64), torch.from_numpy(unit.transpose(0, 3, 1, 2).copy()), list(unit)):
        assert_array_equal(outputs(in_floats, other), outputs(in_floats, unit))


def check_value_range_is_learnt_in_fit(estimator):
    X = pictures() / 255
    X[0, 0, 0], X[0, 0, 1] = 0, 1
    expected = fitted(estimator, X.astype(np.float32))
    wide = (X * 16 - 8).astype(np.float32)
    model = fitted(estimator, wide)
    assert model.value_range_ == (-8.0, 8.0)
    scale = np.ptp(outputs(expected, X))
    assert_allclose(outputs(model, wide), outputs(expected, X), atol=0.01 * scale)
    # The range of later images is not looked at.
    assert_array_equal(outputs(model, wide[3:]), outputs(model, wide)[3:])


def check_value_range_is_taken_as_stated(estimator):
    X = (pictures() / 255).astype(np.float32)
    stated = fitted(estimator, X * 2, value_range=(0, 2))
    assert stated.value_range_ == (0, 2)
    expected = outputs(fitted(estimator, X), X)
    assert_allclose(outputs(stated, X * 2), expected, atol=0.01 * np.ptp(expected))
    for wrong in ((1, 0), (0, np.nan), (0, 1, 2)):
        with pytest.raises(ValueError, match="value_range must be two finite numbers"):
            outputs(fitted(estimator, X, value_range=wrong), X)


def check_images_of_several_sizes(estimator):
    X = list(pictures())
    X[3], X[5], X[8] = X[3][:9], X[5][:, :5], np.tile(X[8], (2, 3, 1))
    model = fitted(estimator, X)
    found = outputs(model, X)
    for i, image in enumerate(X):
        assert_array_equal(outputs(model, [image]), found[[i]], err_msg=f"image {i}")


def check_a_single_image_is_told_to_be_wrapped(estimator):
    model = fitted(estimator)
    picture = pictures()[0]
    for X in (paths()[0], Path(paths()[0]), Path(paths()[0]).read_bytes(), Image.fromarray(picture), picture):
        for act in (lambda X=X: clone(estimator).fit(X, targets(estimator)), lambda X=X: outputs(model, X)):
            with pytest.raises((TypeError, ValueError), match=r"write \[(path|image)\]|pass X\[None\]"):
                act()


def check_what_is_no_sequence_of_images_is_refused(estimator):
    model = fitted(estimator)
    for make, message in {
        (lambda: (picture for picture in pictures()), r"write list\(X\)"),
        (lambda: map(Path, paths()), r"write list\(X\)"),
        (lambda: dict(enumerate(paths())), r"write list\(X.values\(\)\)"),
        (lambda: set(paths()), r"write sorted\(X\)"),
        (folder, "load_image_folder"),
        (lambda: torch.utils.data.DataLoader(pictures()), r"write X\.dataset"),
    }:
        for act in (lambda X: clone(estimator).fit(X, targets(estimator)), lambda X: outputs(model, X)):
            with pytest.raises(TypeError, match=message):
                act(make())


def check_no_images_are_an_error(estimator):
    model = fitted(estimator)
    for X in ([], (), pictures()[:0], np.array([], dtype=object), pd.Series([], dtype=object), pl.Series([])):
        for act in (lambda X=X: clone(estimator).fit(X, []), lambda X=X: outputs(model, X)):
            with pytest.raises(ValueError, match="at least one image"):
                act()


def check_bad_images_are_named(estimator):
    cut, text, empty, absent = (folder() / name for name in ("cut.png", "text.jpg", "empty.png", "absent.png"))
    cut.write_bytes(Path(paths()[0]).read_bytes()[:400])
    text.write_text("no picture")
    empty.write_bytes(b"")
    model = fitted(estimator, on_error="raise") if "on_error" in estimator.get_params() else fitted(estimator)
    for bad in (str(cut), cut, str(text), str(empty), str(absent), str(folder()), None, np.nan, b"abc"):
        X = paths()
        X[7] = bad
        acts = [lambda X=X: outputs(model, X)]
        if is_trained(estimator):
            acts.append(lambda X=X: clone(estimator).fit(X, targets(estimator)))
        for act in acts:
            with pytest.raises(ImageReadError, match="image 7") as caught:
                act()
            assert caught.value.index == 7
            expected = str(bad) if isinstance(bad, str | Path) else None
            assert caught.value.path == expected
            assert expected is None or expected in str(caught.value)


def check_arrays_with_nan_are_named(estimator):
    X = (pictures() / 255).astype(np.float32)
    model = fitted(estimator, X)
    X[4, 1, 1, 1] = np.nan
    for act in (lambda: outputs(model, X), lambda: clone(estimator).fit(X, targets(estimator))):
        with pytest.raises(ImageReadError, match="image 4"):
            act()


def check_rows_and_images_do_not_mix(estimator):
    rows = pictures()[..., 0].reshape(N_IMAGES, -1) / 255
    with pytest.raises(ValueError, match="must be images, as in fit"):
        outputs(fitted(estimator), rows)
    for X in (pictures(), paths()):
        with pytest.raises(ValueError, match="must be rows of numbers, as in fit"):
            outputs(fitted(estimator, rows), X)


def check_rows_are_folded_images(estimator):
    X = (pictures() / 255).astype(np.float32)
    model = fitted(estimator, X.reshape(N_IMAGES, -1), image_shape=(HEIGHT, WIDTH, 3))
    assert model.n_features_in_ == HEIGHT * WIDTH * 3
    assert_array_equal(outputs(model, X.reshape(N_IMAGES, -1)), outputs(fitted(estimator, X), X))


def check_input_is_not_modified(estimator):
    pil = [Image.fromarray(picture) for picture in pictures()]
    floats = (pictures() / 255 * 3 - 1).astype(np.float32)
    frame = pd.DataFrame({"path": paths()})
    for X in (pictures(), floats, pil, frame, torch.from_numpy(floats.transpose(0, 3, 1, 2).copy()), list(pictures())):
        before = copy.deepcopy(X)
        y = targets(estimator)
        outputs(clone(estimator).fit(X, y), X)
        assert_array_equal(y, targets(estimator))
        if isinstance(X, pd.DataFrame):
            pd.testing.assert_frame_equal(X, before)
        for found, expected in zip(X, before, strict=True):
            assert_array_equal(np.asarray(found), np.asarray(expected))
    assert all(image.mode == "RGB" and image.size == (WIDTH, HEIGHT) for image in pil)
