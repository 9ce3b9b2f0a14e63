"""Which X are images, which are not, and which are nearly so."""

from collections import deque
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from PIL import Image

from sktl.exceptions import ImageReadError
from sktl.images import as_images


@pytest.fixture
def paths(tmp_path):
    paths = [str(tmp_path / f"{name}.png") for name in "abc"]
    for i, path in enumerate(paths):
        Image.new("RGB", (6, 5), (40 * i, 0, 255)).save(path)
    return paths


def column_of(values):
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = values
    return column


def vector_of(values):
    return column_of(values)[:, 0]


def test_every_kind_of_paths_is_read(paths):
    expected = [np.asarray(Image.open(path)) for path in paths]
    for X in (
        paths,
        tuple(paths),
        deque(paths),
        [Path(path) for path in paths],
        [paths[0], Path(paths[1]), Path(paths[2]).read_bytes()],
        [[path] for path in paths],
        np.array(paths),
        np.array(paths)[:, None],
        np.array(paths, dtype=object),
        np.array(paths, dtype=object)[:, None],
        vector_of([Path(path) for path in paths]),
        pd.Series(paths, index=[7, 3, 5]),
        pd.Series(paths, dtype=object),
        pd.Series(paths, dtype="string"),
        pd.Series(paths, dtype="category"),
        pd.Series(paths).array,
        pd.Index(paths),
        pl.Series(paths),
        pl.Series("path", paths, dtype=pl.Categorical),
        pl.Series([Path(path).read_bytes() for path in paths]),
        pd.DataFrame({"path": paths}),
        pd.DataFrame({("a", "b"): paths}),
        pl.DataFrame({"path": paths}),
    ):
        images = as_images(X)
        assert len(images) == 3
        for i in range(3):
            np.testing.assert_array_equal(images[i], expected[i])


@pytest.mark.parametrize("make", [list, tuple, vector_of, column_of, pd.Series])
def test_every_kind_of_pictures_in_memory_is_read(make, paths):
    opened = [Image.open(path).convert("RGB") for path in paths]
    for items in (opened, [np.asarray(image) for image in opened], [Path(path).read_bytes() for path in paths]):
        images = as_images(make(items))
        for i in range(3):
            np.testing.assert_array_equal(images[i], np.asarray(opened[i]))


@pytest.mark.parametrize("make", [lambda items: pd.DataFrame({"x": items}), lambda items: pl.DataFrame({"x": items})])
def test_a_frame_may_hold_pictures(make, paths):
    opened = [Image.open(path).convert("RGB") for path in paths]
    for items in (opened, [Path(path).read_bytes() for path in paths]):
        np.testing.assert_array_equal(as_images(make(items))[2], np.asarray(opened[2]))


def test_arrays_of_several_sizes_are_read():
    images = as_images([np.zeros((5, 6), np.uint8), np.zeros((3, 8, 9), np.uint8), torch.zeros(7, 7)])
    assert [image.shape for image in images] == [(5, 6, 3), (8, 9, 3), (7, 7, 3)]


def test_nested_lists_of_numbers_are_read():
    pixels = np.arange(2 * 5 * 6).reshape(2, 5, 6)
    np.testing.assert_array_equal(as_images(pixels.tolist())[1], as_images(pixels)[1])


def test_a_collection_is_taken_as_it_is():
    images = as_images(["a.png"])
    assert as_images(images) is images


@pytest.mark.parametrize(
    "X",
    [
        None,
        3,
        2.5,
        np.float64(3),
        np.zeros((4, 3)),
        np.zeros((4, 1)),
        np.zeros(4),
        np.zeros(0),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.zeros((4, 3), dtype=complex),
        np.zeros((4, 3), dtype=object),
        np.array([[{"foo": "bar"}, 1.0], [0.5, 2.0]], dtype=object),
        np.full((4, 3), np.nan),
        [[0.0, 1.0], [2.0, 3.0]],
        [[1.0], [2.0]],
        [1.0, 2.0],
        [np.zeros(3), np.ones(3)],
        pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}),
        pd.DataFrame({"a": [1.0, 2.0]}),
        pl.DataFrame({"a": [1.0, 2.0]}),
        pd.DataFrame({"a": []}),
        pd.Series([1.0, 2.0]),
        pl.Series([1.0, 2.0]),
        torch.zeros(4, 3),
        sp.csr_matrix(np.eye(3)),
        sp.coo_array(np.eye(3)),
    ],
    ids=lambda X: f"{type(X).__name__}{getattr(X, 'shape', '')}",
)
def test_what_is_no_image_is_left_to_scikit_learn(X):
    assert as_images(X) is None


def test_missing_values_are_faults_of_one_picture(paths):
    for X in (
        [None, paths[1]],
        pd.Series([None, paths[1]]),
        pd.Series([np.nan, paths[1]], dtype=object),
        pl.Series([None, paths[1]]),
        pl.DataFrame({"path": [None, paths[1]]}),
        np.array([None, paths[1]], dtype=object),
        [None, None],
        pd.Series([None, None], dtype="str" if pd.__version__ >= "3" else "string"),
        pl.Series([None, None], dtype=pl.String),
        pd.DataFrame({"path": pd.Series([None, None], dtype="string")}),
    ):
        images = as_images(X)
        with pytest.raises(ImageReadError, match="image 0: an image must be"):
            images[0]


def test_mixed_junk_is_the_fault_of_the_junk(paths):
    images = as_images([paths[0], 5, [1, 2], {"a": 1}])
    assert images[0].shape == (5, 6, 3)
    for i in (1, 2, 3):
        with pytest.raises(ImageReadError, match=f"image {i}: an image must be"):
            images[i]


def test_a_single_image_is_told_to_be_wrapped(paths):
    for X in (paths[0], Path(paths[0]), "no/such.png", b"\x89PNG", Image.new("L", (5, 5))):
        with pytest.raises(TypeError, match=r"single .*; write \[(path|image)\]"):
            as_images(X)
    with pytest.raises(ValueError, match=r"looks like a single one: pass X\[None\]"):
        as_images(np.zeros((20, 30, 3)))
    for n in (3, 4):
        with pytest.raises(
            ValueError, match=rf"pass X\[None\]; if they are {n} grey .* X\[:, None\].* X\.unsqueeze\(1\)"
        ):
            as_images(torch.zeros(n, 20, 30))


def test_few_grey_pictures_in_a_tensor_have_a_way_in():
    X = torch.arange(4 * 20 * 30).reshape(4, 20, 30)
    grey = as_images(X.unsqueeze(1))
    assert [image.shape for image in grey] == [(20, 30, 3)] * 4
    np.testing.assert_array_equal(grey[2][..., 0], X[2].numpy())
    assert as_images(X[:3][None])[0].shape == (20, 30, 3)
    for few in (X[:2], X.repeat(2, 1, 1), X[:3, :4], X[:3, :, :1], X[:3].numpy()):
        assert len(as_images(few)) == len(few)


def test_a_folder_is_told_to_be_listed(tmp_path):
    for X in (tmp_path, str(tmp_path)):
        with pytest.raises(TypeError, match=r"load_image_folder\(.*\)\.images"):
            as_images(X)


def test_dictionaries_sets_and_generators_are_told_what_to_write():
    with pytest.raises(TypeError, match=r"list\(X\.values\(\)\)"):
        as_images({"a": "a.png"})
    with pytest.raises(TypeError, match=r"sorted\(X\)"):
        as_images({"a.png"})
    for X in ((name for name in ["a.png"]), iter(["a.png"]), Path(".").glob("*")):
        with pytest.raises(TypeError, match=r"list\(X\)"):
            as_images(X)


@pytest.mark.parametrize(
    "X", [[], (), np.zeros((0, 5, 5, 3)), np.zeros((0, 5, 5)), np.array([], dtype="U5"), pd.Series([], dtype=object)]
)
def test_no_images_at_all_is_an_error(X):
    with pytest.raises(ValueError, match="at least one image"):
        as_images(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 5, 6, 2)), "1, 3 or 4 channels"),
        (np.zeros((2, 5, 6, 5)), "1, 3 or 4 channels"),
        (torch.zeros(2, 5, 6, 7), "1, 3 or 4 channels"),
        (np.zeros((2, 2, 5, 6, 3)), r"\(n, height, width\)"),
        (np.zeros((2, 0, 6, 3)), "have pixels"),
        ([[[1, 2], [3]]], "ragged"),
        ([[[1, 2]], [[1, 2, 3]]], "ragged"),
    ],
)
def test_a_wrong_shape_is_one_clear_error(X, message):
    with pytest.raises(ValueError, match=message):
        as_images(X)


@pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]", "m8[s]"])
def test_a_wrong_dtype_of_pixels_is_one_clear_error(dtype):
    with pytest.raises(TypeError, match="booleans, integers or floats"):
        as_images(np.zeros((2, 5, 5, 3)).astype(dtype))


def test_an_array_of_bytes_objects_that_numpy_cut_is_refused():
    with pytest.raises(TypeError, match="loses zeros at the end"):
        as_images(np.array([b"\x89PNG\x00", b"b"]))


@pytest.mark.parametrize(
    "X",
    [
        np.array([["a.png", "b.png"]]),
        np.array([["a.png", 1]], dtype=object),
        pd.DataFrame({"age": [1], "path": ["a.png"]}),
        pl.DataFrame({"age": [1], "path": ["a.png"]}),
    ],
)
def test_several_columns_are_told_to_be_selected(X):
    with pytest.raises(ValueError, match=r"must have one column .* select the one"):
        as_images(X)


def test_ambiguous_layouts_are_channels_last_in_arrays_and_first_in_tensors():
    pixels = np.zeros((2, 3, 8, 4), np.uint8)
    assert as_images(pixels)[0].shape == (3, 8, 3)
    assert as_images(torch.from_numpy(pixels))[0].shape == (8, 4, 3)
