import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms._presets import ImageClassification

from sktl.backbones import Preprocessing

SIZES = [(300, 400), (400, 300), (64, 64), (17, 23), (2, 5), (256, 256), (224, 224), (255, 512), (33, 32)]


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_torchvision_does(image, crop_size, resize_size, interpolation):
    """Resize and crop a PIL image with torchvision's functions, as its presets do."""
    picture = F.resize(Image.fromarray(image), [resize_size], interpolation=InterpolationMode(interpolation))
    return F.pil_to_tensor(F.center_crop(picture, [crop_size])).numpy()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize(("crop_size", "resize_size"), [(224, 256), (224, 224), (48, 48), (31, 40), (64, 50)])
def test_bytes_come_out_bit_equal_to_torchvision(interpolation, crop_size, resize_size):
    preprocessing = Preprocessing(crop_size, resize_size, interpolation)
    for height, width in SIZES:
        image = photo(height, width)
        expected = as_torchvision_does(image, crop_size, resize_size, interpolation)
        np.testing.assert_array_equal(preprocessing.prepare(image), expected, err_msg=f"{height} x {width}")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_prepare_and_normalize_are_bit_equal_to_the_whole_preset(interpolation):
    preset = ImageClassification(crop_size=64, resize_size=72, interpolation=InterpolationMode(interpolation))
    preprocessing = Preprocessing(64, 72, interpolation)
    images = [photo(*size) for size in SIZES]
    expected = torch.stack([preset(Image.fromarray(image)) for image in images])
    batch = torch.from_numpy(np.stack([preprocessing.prepare(image) for image in images]))
    assert torch.equal(preprocessing.normalize(batch), expected)


FILTERS = ["bilinear", "bicubic", "nearest", "lanczos", "box", "hamming"]


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("crop_size", "resize_size"), [(64, 72), (48, 48), (64, 50), (33, 40)])
def test_squashed_bytes_come_out_bit_equal_to_torchvision(interpolation, crop_size, resize_size):
    preprocessing = Preprocessing(crop_size, resize_size, interpolation, crop_mode="squash")
    for height, width in SIZES:
        image = photo(height, width)
        squashed = F.resize(Image.fromarray(image), [resize_size] * 2, interpolation=InterpolationMode(interpolation))
        expected = F.pil_to_tensor(F.center_crop(squashed, [crop_size])).numpy()
        np.testing.assert_array_equal(preprocessing.prepare(image), expected, err_msg=f"{height} x {width}")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_border_has_the_colour_of_the_mean_and_the_whole_picture_is_inside(dtype, transposed):
    light = np.full((20, 60, 3), 255 if dtype == np.uint8 else 1.0, dtype=dtype)
    preprocessing = Preprocessing(48, 48, mean=(0.5, 0.25, 0.1), crop_mode="border")
    planes = preprocessing.prepare(light.transpose(1, 0, 2) if transposed else light)
    planes = planes.transpose(0, 2, 1) if transposed else planes
    np.testing.assert_allclose(planes[:, 16:32], light[0, 0, 0], rtol=1e-6)
    colour = np.array([128, 64, 26] if dtype == np.uint8 else [0.5, 0.25, 0.1], dtype=dtype)
    for border in (planes[:, :16], planes[:, 32:]):
        np.testing.assert_array_equal(border, np.broadcast_to(colour[:, None, None], border.shape))


@pytest.mark.parametrize("crop_mode", ["squash", "border"])
def test_an_extremely_long_picture_needs_no_more_than_the_square(crop_mode):
    assert Preprocessing(32, 40, crop_mode=crop_mode).prepare(photo(2, 100_001)).shape == (3, 32, 32)


@pytest.mark.parametrize("interpolation", ["lanczos", "box", "hamming"])
def test_floats_take_filters_that_torch_has_not_as_bytes_do(interpolation):
    image = photo(90, 70) // 4 + 90  # far from black and white, where bytes are cut off between two passes
    preprocessing = Preprocessing(48, 56, interpolation)
    prepared = preprocessing.prepare(image.astype(np.float32))
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared, preprocessing.prepare(image), atol=1.51)


def test_keys_made_of_the_usual_way_to_crop_are_those_of_before_there_was_another():
    plain = "Preprocessing(crop_size=8, resize_size=8, interpolation='box', mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)"
    options = {"crop_size": 8, "interpolation": "box", "mean": (0, 0, 0), "std": (1, 1, 1)}
    assert repr(Preprocessing(**options)) == f"{plain})"
    assert repr(Preprocessing(**options, crop_mode="squash")) == f"{plain}, crop_mode='squash')"


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_a_prepared_picture_is_left_as_it_is_by_the_same_way_without_a_margin(crop_mode):
    prepared = Preprocessing(32, 40, crop_mode=crop_mode).prepare(photo(50, 90))
    again = Preprocessing(32, 32, crop_mode=crop_mode).prepare(prepared.transpose(1, 2, 0))
    np.testing.assert_array_equal(again, prepared)


def test_floats_take_the_way_of_tensors():
    image = photo(90, 70).astype(np.float32) / 255
    preset = ImageClassification(crop_size=48, resize_size=56, interpolation=InterpolationMode.BICUBIC)
    expected = preset(torch.from_numpy(image).permute(2, 0, 1))
    preprocessing = Preprocessing(48, 56, "bicubic")
    prepared = preprocessing.prepare(image)
    assert prepared.dtype == np.float32
    assert torch.equal(preprocessing.normalize(torch.from_numpy(prepared)[None])[0], expected)


def test_floats_and_bytes_agree_within_rounding():
    image = photo(90, 70)
    preprocessing = Preprocessing(48, 56)
    floats = preprocessing.prepare(image.astype(np.float32) / 255)
    np.testing.assert_allclose(floats * 255, preprocessing.prepare(image), atol=1.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(1, 30, 3), (30, 1, 3), (1, 1, 3), (1, 2, 3)])
def test_a_strip_is_stretched_over_the_whole_square(shape, dtype):
    strip = np.zeros(shape, dtype=dtype)
    strip[0, 0] = 200 if dtype == np.uint8 else 0.8
    strip[-1, -1] = 100 if dtype == np.uint8 else 0.4
    prepared = Preprocessing(60, 70, "nearest").prepare(strip)
    assert prepared.shape == (3, 60, 60)
    assert prepared.dtype == dtype
    assert prepared[0, 0, 0] == strip[0, 0, 0]
    assert prepared[0, -1, -1] == strip[-1, -1, 0]


@pytest.mark.parametrize("transposed", [False, True])
def test_an_extremely_long_picture_is_cut_to_its_centre_before_it_grows(transposed):
    image = photo(2, 100_001)
    centre = image[:, 49_900:-49_900]
    assert centre.shape[1] == 201
    if transposed:
        image, centre = image.transpose(1, 0, 2), centre.transpose(1, 0, 2)
    expected = as_torchvision_does(np.ascontiguousarray(centre), 32, 40, "bilinear")
    np.testing.assert_array_equal(Preprocessing(32, 40).prepare(image), expected)


def test_prepare_copies_and_leaves_the_picture_as_it_is():
    image = photo(48, 48)
    image.setflags(write=False)
    before = image.copy()
    prepared = Preprocessing(48).prepare(image)
    assert prepared.flags.c_contiguous
    assert prepared.flags.writeable
    assert not np.shares_memory(prepared, image)
    prepared[:] = 0
    np.testing.assert_array_equal(image, before)
    floats = before.astype(np.float32)
    floats.setflags(write=False)
    assert not np.shares_memory(Preprocessing(48).prepare(floats), floats)
    assert Preprocessing(40).prepare(floats).flags.c_contiguous


def test_prepare_takes_views_with_any_strides():
    image = photo(60, 80)
    flipped = image[::-1, ::2]
    preprocessing = Preprocessing(32, 36)
    np.testing.assert_array_equal(preprocessing.prepare(flipped), preprocessing.prepare(flipped.copy()))


def test_threads_give_the_same_pixels():
    preprocessing = Preprocessing(64, 72, "bicubic")
    images = [photo(100 + i, 90, seed=i) for i in range(40)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(preprocessing.prepare, images))
    for image, prepared in zip(images, together, strict=True):
        np.testing.assert_array_equal(prepared, preprocessing.prepare(image))


def test_normalize_leaves_its_argument_as_it_is():
    preprocessing = Preprocessing(8)
    batch = torch.rand(2, 3, 8, 8)
    before = batch.clone()
    assert preprocessing.normalize(batch).dtype == torch.float32
    assert torch.equal(batch, before)
    assert preprocessing.normalize(batch.half()).dtype == torch.float32


def test_resized_keeps_the_ratio_of_crop_and_resize():
    preprocessing = Preprocessing(224, 256, "bicubic", (0, 0, 0), (1, 1, 1))
    half = preprocessing.resized(112)
    assert (half.crop_size, half.resize_size) == (112, 128)
    assert (half.interpolation, half.mean, half.std) == ("bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert preprocessing.resized(224) is preprocessing
    assert preprocessing.resized(np.int64(1)).resize_size == 1


def test_equal_values_are_equal_and_survive_pickling():
    preprocessing = Preprocessing(np.int64(48), mean=np.array([0.5, 0.5, 0.5]), std=[1, 1, 1])
    assert preprocessing == Preprocessing(48, 48, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))
    assert pickle.loads(pickle.dumps(preprocessing)) == preprocessing
    assert isinstance(preprocessing.crop_size, int)
    hash(preprocessing)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_size": 0}, "crop_size must be a positive whole number of pixels. Got 0 instead"),
        ({"crop_size": 3.5}, "crop_size must be"),
        ({"crop_size": True}, "crop_size must be"),
        ({"resize_size": -1}, "resize_size must be"),
        ({"interpolation": "bilinaer"}, "interpolation must be one of .* Did you mean 'bilinear'"),
        ({"crop_mode": "centre"}, "crop_mode must be one of .* Did you mean 'center'"),
        ({"mean": (0.5, 0.5)}, "mean must be three numbers"),
        ({"mean": 0.5}, "mean must be three numbers"),
        ({"mean": (0.5, 0.5, float("nan"))}, "mean must be three numbers"),
        ({"std": (1, 1, "a")}, "std must be three numbers"),
        ({"std": (1, 0, 1)}, "std must be positive"),
    ],
)
def test_wrong_values_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**wrong)


@pytest.mark.parametrize("crop_mode", ["center", "floor", "squash", "border"])
@pytest.mark.parametrize(("crop_size", "resize_size"), [(48, 48), (48, 64), (64, 48)])
@pytest.mark.parametrize("size", [(60, 60), (90, 200), (200, 90), (48, 130), (12, 100)])
def test_the_part_that_is_seen_is_where_a_ramp_comes_out_again(crop_mode, crop_size, resize_size, size):
    preprocessing = Preprocessing(crop_size, resize_size, "bilinear", crop_mode=crop_mode)
    height, width = size
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    ramps = np.stack(np.broadcast_arrays(rows[:, None], columns, np.ones(size)), axis=2).astype(np.float32)
    shown = preprocessing.prepare(ramps)
    top, bottom, left, right = preprocessing.seen_part(ramps)
    centres = (np.arange(crop_size) + 0.5) / crop_size
    for plane, low, high, n in ((shown[0], top, bottom, height), (shown[1].T, left, right, width)):
        expected = low + (high - low) * centres
        edge = max(2 / n, 2 * (high - low) / crop_size)  # where interpolation stops
        within = (expected > edge) & (expected < 1 - edge)
        middle = plane[:, crop_size // 2]
        np.testing.assert_allclose(middle[within], expected[within], rtol=0, atol=0.6 * (high - low) / crop_size + 1e-3)


def test_of_a_picture_one_pixel_wide_all_is_seen():
    assert Preprocessing(48, 64).seen_part(np.zeros((1, 30, 3))) == (0, 1, 0, 1)
