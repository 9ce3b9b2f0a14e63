"""What makes its images on access is asked for each of them once, as far as there is room."""

import pickle
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sktl.exceptions import ImageReadError
from sktl.images import _lazy, as_images, read_once

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 8, 3), dtype=np.uint8)


class OnAccess:
    def __init__(self, make, n=6):
        self.make, self.n, self.asked = make, n, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.asked.append(i)
        return self.make(i)


def pictures(images):
    return [images[i] for i in range(len(images))]


@pytest.mark.parametrize("n_in_memory", [0, 2, 6])
def test_what_is_kept_stays_within_the_bound_and_the_rest_is_asked_for_again(n_in_memory, monkeypatch):
    monkeypatch.setattr(_lazy, "_MEMORY", n_in_memory * PIXELS[0].nbytes)
    X = OnAccess(lambda i: PIXELS[i].copy())
    images = as_images(X)
    X.asked.clear()
    for _ in range(3):
        np.testing.assert_array_equal(pictures(images), PIXELS)
    times = np.bincount(X.asked, minlength=6)
    assert times.sum() == 3 * (6 - n_in_memory) + max(n_in_memory - 1, 0)
    assert images._items._n_bytes == n_in_memory * PIXELS[0].nbytes


def test_nothing_is_read_at_the_door_but_the_first():
    X = OnAccess(lambda i: Image.fromarray(PIXELS[i % 6]), n=10**6)
    images = as_images(X)
    assert X.asked == [0]
    assert len(images) == 10**6
    assert images.learn_value_range() is None
    np.testing.assert_array_equal(images.subset([10**5])[0], PIXELS[10**5 % 6])
    assert X.asked == [0, 10**5]


@pytest.mark.parametrize("as_volume", [np.array, torch.tensor])
def test_a_slice_that_is_kept_does_not_keep_the_volume_that_it_was_cut_from(as_volume):
    volumes = []

    def make(i):
        volume = as_volume(PIXELS[..., 0])
        volumes.append(weakref.ref(volume))
        return volume[i]

    images = as_images(OnAccess(make))
    np.testing.assert_array_equal([picture[..., 0] for picture in pictures(images)], PIXELS[..., 0])
    assert len(images._items._kept) == len(volumes) == 6
    for kept in images._items._kept.values():
        held = kept.untyped_storage().nbytes() if isinstance(kept, torch.Tensor) else kept.nbytes
        assert held == kept.nbytes == 72
        assert getattr(kept, "base", None) is None
    assert not any(volume() is not None for volume in volumes)


def test_positions_are_plain_numbers():
    def make(i):
        assert type(i) is int
        return PIXELS[i]

    assert len(pictures(as_images(OnAccess(make))[np.array([3, 1])])) == 2


def test_what_was_identified_is_not_read_again_and_is_known_in_every_part(monkeypatch):
    monkeypatch.setattr(_lazy, "_MEMORY", 0)
    X = OnAccess(lambda i: PIXELS[i])
    images = as_images(X)
    digests = [images.digest(i) for i in range(6)]
    assert digests == [as_images(PIXELS).digest(i) for i in range(6)]
    X.asked.clear()
    part = images.subset([5, 2])
    assert [part.open(0).digest(), part.digest(1)] == [digests[5], digests[2]]
    assert X.asked == []
    np.testing.assert_array_equal(part[0], PIXELS[5])
    assert X.asked == [5]


def test_another_range_is_another_identity():
    images = as_images(OnAccess(lambda i: PIXELS[i].astype(float)))
    one, other = images.with_value_range((0, 255)), images.with_value_range((0, 510))
    assert one.digest(0) != other.digest(0)
    assert one.digest(0) == as_images(PIXELS.astype(float)).with_value_range((0, 255)).digest(0)


def test_images_that_change_between_two_readings_are_refused(monkeypatch):
    monkeypatch.setattr(_lazy, "_MEMORY", 0)
    rng = np.random.default_rng(0)
    images = as_images(OnAccess(lambda i: rng.integers(0, 256, (5, 5), dtype=np.uint8)))
    images.digest(3)
    with pytest.raises(ImageReadError, match=r"image 3: .*the same each time.*random transforms"):
        images[3]


def test_an_error_of_the_sequence_is_an_error_of_one_image():
    def make(i):
        if i in (0, 4):
            raise KeyError("x" * 10_000)
        return None if i == 1 else PIXELS[i]

    images = as_images(OnAccess(make))
    for i in (0, 4):
        with pytest.raises(ImageReadError, match=f"image {i}: X does not give it, KeyError says") as caught:
            images.open(i)
        assert len(str(caught.value)) < 300
        assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ImageReadError, match=r"image 1: .*None, a missing value"):
        images.subset([1])[0]
    np.testing.assert_array_equal(images[5], PIXELS[5])


@pytest.mark.parametrize(
    ("scale", "expected", "n_read"),
    [(1 / 255, (0.0, 1.0), 1), (2.0, (0.0, 510.0), 6), (-1.0, (-255.0, 0.0), 6)],
)
def test_the_first_image_speaks_for_all_where_it_lies_in_the_unit_range(scale, expected, n_read):
    pixels = PIXELS.astype(float)
    pixels[0, 0, 0], pixels[5, 0, 0] = 255, 0
    X = OnAccess(lambda i: pixels[i] * scale)
    images = as_images(X)
    assert images.learn_value_range() == expected == as_images(pixels * scale).learn_value_range()
    assert len(X.asked) == n_read


def test_an_image_on_another_scale_than_the_first_is_refused():
    images = as_images(OnAccess(lambda i: PIXELS[i] * (1 / 255 if i < 3 else 1.0)))
    learned = images.with_value_range(images.learn_value_range(), learned=True)
    assert learned[2].max() <= 1
    with pytest.raises(ImageReadError, match=r"image 3: numbers must lie in \[0, 1\].*value_range=\(0, 255\)"):
        learned[3]
    assert images.with_value_range((0, 255))[3].max() <= 1


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
        st.tuples(st.integers(1, 6), st.integers(5, 7), st.integers(5, 7), st.sampled_from([1, 3, 4])),
        elements={"min_value": 0, "max_value": 255},
    ),
    st.lists(st.integers(0, 5), max_size=8),
)
def test_pictures_and_digests_are_those_of_the_same_images_in_a_list(pixels, order):
    order = [i % len(pixels) for i in order]
    expected = as_images(list(pixels)).with_value_range((0, 100)).subset(order)
    found = as_images(OnAccess(pixels.__getitem__, n=len(pixels)))[np.array(order, dtype=int)].with_value_range(
        (0, 100)
    )
    assert [found.digest(i) for i in range(len(found))] == [expected.digest(i) for i in range(len(expected))]
    for i in range(len(order)):
        np.testing.assert_array_equal(found[i], expected[i])


def test_a_pickle_leaves_the_images_behind():
    images = as_images(OnAccess(PIXELS.__getitem__))
    pictures(images)
    digest = images.digest(0)
    copy = pickle.loads(pickle.dumps(images))
    assert copy._items._kept == {}
    assert copy.digest(0) == digest
    np.testing.assert_array_equal(copy[4], PIXELS[4])


def test_what_is_in_memory_or_in_files_is_left_as_it_is():
    for X in (["a.png"], ("a.png",), PIXELS, np.zeros((3, 4)), [[0.0, 1.0]], None, "a.png", as_images(["a.png"])):
        assert read_once(X) is X
    assert type(read_once(OnAccess(PIXELS.__getitem__))).__name__ == "ImageCollection"
    rows = OnAccess(lambda i: [1.0, 2.0])
    assert read_once(rows) is rows
    with pytest.raises(TypeError, match=r"whose first item is a list of \(float, float\)"):
        as_images(rows)
