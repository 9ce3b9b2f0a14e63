"""A whole X: lazily read, scaled, identified."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sktl.exceptions import ImageReadError
from sktl.images import as_images


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@st.composite
def batches(draw):
    shape = draw(st.integers(1, 3)), draw(st.integers(5, 8)), draw(st.integers(5, 8)), draw(st.sampled_from([3, 4]))
    return draw(hnp.arrays(np.uint8, shape))


@given(batches())
def test_every_container_holds_the_same_pictures_with_the_same_digests(pixels):
    first = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    reference = as_images(pixels)
    for X in (
        first,
        list(pixels),
        tuple(first),
        torch.from_numpy(first),
        [torch.from_numpy(image) for image in first],
        [Image.fromarray(image) for image in pixels],
    ):
        images = as_images(X)
        for i in range(len(reference)):
            np.testing.assert_array_equal(images[i], reference[i])
            assert images.digest(i) == reference.digest(i)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_grey_layouts_hold_the_same_pictures_with_the_same_digests(dtype):
    pixels = (np.random.default_rng(0).random((3, 5, 6)) * 2).astype(dtype)
    reference = as_images(pixels)
    for X in (pixels[..., None], pixels[:, None], list(pixels), pixels.astype(pixels.dtype.newbyteorder(">"))):
        images = as_images(X)
        for i in range(3):
            np.testing.assert_array_equal(images[i], reference[i])
            assert images.digest(i) == reference.digest(i)


def test_a_file_shares_its_digest_with_its_bytes_and_not_with_its_pixels(tmp_path):
    pixels = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    (tmp_path / "a.png").write_bytes(png(pixels))
    images = as_images([str(tmp_path / "a.png"), tmp_path / "a.png", png(pixels), pixels])
    digests = [images.digest(i) for i in range(4)]
    assert digests[0] == digests[1] == digests[2] != digests[3]
    assert all(isinstance(digest, bytes) and len(digest) == 16 for digest in digests)


@given(st.lists(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4)), min_size=2, max_size=6))
def test_digests_are_equal_exactly_when_the_pictures_are(pixels):
    images = as_images(pixels)
    for i in range(len(images)):
        for j in range(len(images)):
            assert (images.digest(i) == images.digest(j)) == np.array_equal(images[i], images[j])


def test_digests_tell_apart_what_a_stated_range_tells_apart():
    pair = [np.full((2, 2), True), np.full((2, 2), 255, np.uint8)]
    images = as_images(pair)
    assert images.digest(0) == images.digest(1)
    ranged = images.with_value_range((0, 1))
    assert ranged[0].max() != ranged[1].max()
    assert ranged.digest(0) != ranged.digest(1)


def test_digests_of_bytes_change_only_when_a_stated_range_does_away_with_bytes():
    images = as_images(np.full((2, 5, 5, 3), 9, np.uint8))
    assert images.with_value_range((0, 1), learned=True).digest(1) == images.digest(1)
    assert images.with_value_range((0, 1)).digest(1) != images.digest(1)


def test_digests_of_numbers_follow_the_value_range_as_the_pictures_do():
    images = as_images(np.linspace(0, 1, 50).reshape(2, 5, 5))
    same = as_images(np.linspace(0, 1, 50).reshape(2, 5, 5) * 10 - 5)
    assert images.with_value_range((0, 1)).digest(1) != images.with_value_range((0, 2)).digest(1)
    ranged = same.with_value_range((-5, 5))
    np.testing.assert_allclose(ranged[1], images.with_value_range((0, 1))[1], atol=1e-7)
    assert (ranged.digest(1) == images.digest(1)) == np.array_equal(ranged[1], images[1])


def test_a_file_replaced_after_it_was_opened_gives_digest_and_picture_of_the_old_bytes(tmp_path):
    path = tmp_path / "image.png"
    Image.new("RGB", (4, 4), "red").save(path)
    images = as_images([str(path)])
    opened, digest, picture = images.open(0), images.digest(0), images[0]
    Image.new("RGB", (4, 4), "blue").save(path)
    assert images.digest(0) != digest
    assert opened.digest() == digest
    np.testing.assert_array_equal(opened.picture(), picture)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    images = as_images([str(tmp_path / "later.png"), str(tmp_path / "never.png")])
    assert len(images) == 2
    (tmp_path / "later.png").write_bytes(png(np.zeros((5, 5, 3), np.uint8)))
    assert images[0].shape == (5, 5, 3)
    with pytest.raises(ImageReadError, match=r"image 1 .*never\.png"):
        images[1]


def test_a_memory_map_is_never_copied_as_a_whole(tmp_path):
    class Counting(np.memmap):
        asked = []

        def __getitem__(self, key):
            self.asked.append(key)
            return super().__getitem__(key)

        def __array__(self, *arguments, **keywords):
            if self.ndim == 4:
                raise AssertionError("the whole memory map was asked for")
            return np.memmap.__array__(self, *arguments, **keywords)

    pixels = Counting(tmp_path / "pixels", np.uint8, "w+", shape=(1000, 8, 8, 3))
    images = as_images(pixels).subset([7, 3])
    assert images.learn_value_range() is None
    assert images[0].shape == (8, 8, 3)
    assert pixels.asked == [7]


def test_what_slices_like_an_array_is_read_picture_by_picture():
    class OnDisk:
        """As h5py and zarr have it."""

        shape, dtype, ndim = (10, 6, 5, 3), np.dtype(np.uint8), 4

        def __len__(self):
            return self.shape[0]

        def __getitem__(self, i):
            if not isinstance(i, int):
                raise TypeError("one picture at a time")
            return np.full(self.shape[1:], i, self.dtype)

    images = as_images(OnDisk())
    assert len(images) == 10
    assert images[4].max() == 4


def test_subsets_keep_the_positions_in_the_first_x():
    pixels = [np.full((5, 5), float(i)) for i in range(9)]
    pixels[7][0, 0] = np.nan
    images = as_images(pixels).subset([5, 7, 8]).subset([True, True, False])
    assert len(images) == 2
    assert images[0].max() == 5
    assert images.describe(1) == "image 7"
    for ask in (lambda: images[1], images.learn_value_range):
        with pytest.raises(ImageReadError) as caught:
            ask()
        assert caught.value.index == 7
    with pytest.raises(IndexError):
        images[2]
    with pytest.raises(IndexError):
        images.subset([2])


def test_subsets_may_be_empty_repeated_reversed_and_sliced():
    images = as_images(np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 5, 5), np.uint8))
    for indices in ([], [0, 0, 3], [-1, 1], slice(None, None, -1), np.array([False, True, True, False])):
        chosen = np.arange(4)[indices if len(np.shape(indices)) == 0 or len(indices) else slice(0)]
        assert [int(image.max()) for image in images.subset(indices)] == chosen.tolist()


def test_describe_names_the_file(tmp_path):
    image = Image.new("RGB", (5, 5))
    image.save(tmp_path / "a.png")
    images = as_images(["cats/12.jpg", image, Image.open(tmp_path / "a.png")])
    assert images.describe(0) == "image 0 ('cats/12.jpg')"
    assert images.describe(1) == "image 1"
    assert images.describe(2) == f"image 2 ({str(tmp_path / 'a.png')!r})"
    assert repr(images) == "ImageCollection(3 images)"
    images[2]


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.uint16])
def test_dtypes_with_a_range_of_their_own_need_none(dtype):
    assert as_images(np.ones((2, 5, 5), dtype)).learn_value_range() is None
    assert as_images([np.ones((5, 5), dtype), Image.new("L", (5, 5)), "a.png"]).learn_value_range() is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 0.9], (0.0, 1.0)),
        ([0.3, 0.3, 0.3], (0.0, 1.0)),
        ([0, 1, 1], (0.0, 1.0)),
        ([0, 16, 3], (0.0, 16.0)),
        ([-1.5, 0.0, 0.5], (-1.5, 0.5)),
        ([7, 7, 7], (7.0, 7.0)),
        ([0.0, 1.0, 1.0 + 1e-9], (0.0, 1.0 + 1e-9)),
    ],
)
def test_the_range_of_numbers_is_zero_to_one_or_least_to_greatest(values, expected):
    pixels = np.array(values)[:, None, None] * np.ones((3, 5, 5))
    assert as_images(pixels).learn_value_range() == expected
    assert as_images(list(pixels)).learn_value_range() == expected
    assert as_images([*pixels, "not_read.png"]).learn_value_range() == expected


@given(
    hnp.arrays(np.float64, (2, 5, 5), elements=st.floats(-1e6, 1e6)),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
)
def test_the_range_is_mapped_linearly_without_clipping(pixels, low, width):
    images = as_images(pixels).with_value_range((low, low + width))
    expected = (pixels - low) / ((low + width) - low)
    assert images[1].dtype == np.float32
    np.testing.assert_allclose(images[1][..., 0], expected[1], rtol=1e-6, atol=1e-6)


def test_constant_pictures_do_not_divide_by_zero():
    images = as_images(np.full((2, 5, 5), 7))
    np.testing.assert_array_equal(images.with_value_range(images.learn_value_range())[0], 0.0)


def test_a_stated_range_applies_to_all_arrays_and_to_no_files_and_pil_images_of_8_bits():
    pixels = np.full((5, 5, 3), 51, np.uint8)
    images = as_images([pixels, pixels.astype(float), Image.fromarray(pixels), png(pixels)]).with_value_range((0, 255))
    for i in (0, 1):
        assert images[i].dtype == np.float32
        np.testing.assert_allclose(images[i], 0.2, rtol=1e-6)
    for i in (2, 3):
        np.testing.assert_array_equal(images[i], pixels)


def test_a_learned_range_leaves_bytes_alone():
    pixels = np.full((5, 5, 3), 51, np.uint8)
    images = as_images([pixels, pixels.astype(float)]).with_value_range((0, 102), learned=True)
    np.testing.assert_array_equal(images[0], pixels)
    np.testing.assert_allclose(images[1], 0.5)


def test_opacity_follows_the_value_range():
    pixels = np.full((1, 5, 5, 4), 255, np.int64)
    pixels[..., 3] = 0
    np.testing.assert_array_equal(as_images(pixels).with_value_range((0, 255))[0], 1.0)


@pytest.mark.parametrize("value_range", [(1, 0), (0, np.inf), (np.nan, 1), (0,), (0, 1, 2), 5, "ab", (-1e308, 1e308)])
def test_a_wrong_value_range_is_refused(value_range):
    with pytest.raises(ValueError, match="value_range must be two finite numbers"):
        as_images(np.zeros((2, 5, 5))).with_value_range(value_range)


def test_with_value_range_leaves_the_first_collection_as_it_is():
    images = as_images(np.full((2, 5, 5), 4.0))
    assert images.with_value_range((0, 8)).subset([1])[0].max() == 0.5
    assert images[0].max() == 4.0
    assert images.with_value_range((0, 8)).with_value_range(None)[0].max() == 4.0


def test_nan_is_named_when_the_range_is_learned():
    pixels = np.zeros((3, 5, 5))
    pixels[2, 1, 1] = np.nan
    with pytest.raises(ImageReadError, match="image 2: pixels must be finite"):
        as_images(pixels).learn_value_range()


def test_errors_from_threads_keep_index_and_path(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(8)]
    for path in paths[:-1]:
        Image.new("RGB", (5, 5)).save(path)
    images = as_images(paths)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(images.__getitem__, i) for i in range(8)]
    assert [future.exception() is None for future in futures] == [True] * 7 + [False]
    assert (futures[-1].exception().index, futures[-1].exception().path) == (7, paths[-1])


def test_real_photos_are_what_pillow_shows(shared_data):
    paths = sorted((shared_data / "datasets" / "sanity_photos").rglob("*.jpg"))[:5]
    images = as_images(paths)
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            np.testing.assert_array_equal(images[i], np.asarray(image.convert("RGB")))
