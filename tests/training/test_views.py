"""Views are pure functions of image and number, and of nothing else."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from torchvision.transforms import v2

from sktl.backbones import Preprocessing, load_backbone, seeded
from sktl.exceptions import ImageReadError
from sktl.images import as_images
from sktl.inference import embed, read_prepared, resolve_placement
from sktl.store import EmbeddingStore
from sktl.training import _picture_transforms
from sktl.training._views import (
    AUGMENTATIONS,
    AugmentedImages,
    can_be_stored,
    check_augment,
    mirrored,
    prepared_already,
)

PREPROCESSING = Preprocessing(crop_size=24, resize_size=28)
OWN = v2.Compose([v2.RandomResizedCrop(20), v2.RandomHorizontalFlip(), v2.ColorJitter(0.3)])
every_augment = pytest.mark.parametrize("augment", [*AUGMENTATIONS, OWN], ids=[*AUGMENTATIONS, "own"])
Views = partial(AugmentedImages, preprocessing=PREPROCESSING)


def noisy(image):
    """Draw from all three global generators."""
    noise = random.randrange(9) + np.random.randint(9) + torch.randint(9, (3, 20, 20))  # noqa: NPY002
    return noise.to(torch.uint8)


def make(n_images=6, size=(30, 40), seed=0, dtype=np.uint8):
    pixels = np.random.default_rng(seed).integers(0, 256, (n_images, *size, 3)).astype(np.uint8)
    return pixels if dtype == np.uint8 else (pixels / 255).astype(dtype)


def global_states():
    return torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002


# Names


@pytest.mark.parametrize("augment", [None, "light", "trivial", OWN, noisy, lambda image: image])
def test_names_and_callables_are_accepted(augment):
    check_augment(augment)


@pytest.mark.parametrize("augment", ["lihgt", "mirror", 3, ["light"], v2.RandomHorizontalFlip])
def test_anything_else_is_refused(augment):
    with pytest.raises(ValueError, match=r"^augment must be None, one of .* instead"):
        check_augment(augment)


def test_a_misspelt_name_is_met_with_the_right_one():
    with pytest.raises(ValueError, match="Did you mean 'trivial'"):
        check_augment("triviall")


def hooked():
    transform = v2.RandomHorizontalFlip()
    transform.register_forward_hook(lambda *_: None)
    return transform


class Subclass(v2.RandomHorizontalFlip):
    pass


@pytest.mark.parametrize(
    ("augment", "known"),
    [
        *((known, True) for known in (None, "light", "trivial", OWN, v2.RandomRotation(10, fill={torch.Tensor: 0}))),
        (v2.Compose([v2.RandAugment(), v2.AugMix(), v2.RandomErasing(), v2.GaussianBlur(3)]), True),
        *((unknown, False) for unknown in (noisy, lambda image: image, hooked(), Subclass(), torch.nn.Identity())),
        (v2.Lambda(lambda image: image), False),
        (v2.Compose([v2.RandomHorizontalFlip(), v2.Lambda(lambda image: image)]), False),
        (v2.LinearTransformation(torch.eye(12), torch.zeros(12)), True),
    ],
)  # fmt: skip
def test_only_what_is_known_to_the_last_parameter_can_be_stored(augment, known):
    assert can_be_stored(augment) is known


# Views


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@every_augment
def test_view_0_is_the_plain_prepared_image(augment, dtype):
    images = as_images(make(dtype=dtype))
    views = Views(images, augment=augment, view=0)
    for i in range(len(images)):
        assert_array_equal(views[i].transpose(2, 0, 1), PREPROCESSING.prepare(images[i]))
        assert views[i].dtype == dtype


@settings(deadline=None, max_examples=60)
@given(
    pixels=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])).flatmap(
        lambda shape: st.one_of(arrays(np.uint8, shape), arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    ),
    size=st.integers(1, 20),
    extra=st.integers(-2, 5),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest"]),
    augment=st.sampled_from([*AUGMENTATIONS, v2.RandomHorizontalFlip(), None]),
)
def test_any_picture_gives_prepared_pictures_that_stay_as_they_are(pixels, size, extra, interpolation, augment):
    preprocessing = Preprocessing(size, max(1, size + extra), interpolation)
    for view in range(4):
        picture = AugmentedImages(as_images([pixels]), preprocessing, augment, view)[0]
        assert picture.shape == (size, size, 3)
        assert picture.dtype == pixels.dtype
        again = prepared_already(preprocessing).prepare(picture)
        assert_array_equal(again.transpose(1, 2, 0), picture)
        assert again.tobytes() == np.ascontiguousarray(picture.transpose(2, 0, 1)).tobytes()
    assert prepared_already(preprocessing).crop_size == size


@every_augment
def test_views_differ_between_numbers_and_between_images(augment):
    images = as_images(np.repeat(make(1), 2, axis=0))
    seen = {Views(images, augment=augment, view=view)[0].tobytes() for view in range(1, 9)}
    assert len(seen) >= 7  # "trivial" may do nothing twice
    same = Views(images, augment=augment, view=3)
    assert_array_equal(same[0], same[1])
    gradient = np.linspace(0, 255, 40).astype(np.uint8)[None, :, None] * np.ones((30, 1, 3), np.uint8)
    other = gradient.copy()
    other[0, 0] = 1  # all but the same image, whose draws are others
    first, second = (
        np.stack([Views(as_images([image]), augment=augment, view=view)[0] for view in range(1, 6)]).astype(int)
        for image in (gradient, other)
    )
    assert np.abs(first - second).max() > 40


@every_augment
def test_a_view_is_the_same_whatever_the_order_the_threads_and_the_global_seeds(augment):
    images = as_images(make(8))
    views = Views(images, augment=augment, view=2)
    expected = [views[i].tobytes() for i in range(8)]
    torch.manual_seed(5)
    random.seed(5)
    assert [views[i].tobytes() for i in reversed(range(8))] == expected[::-1]
    assert [picture.tobytes() for picture in map(views.subset([6, 1, 6]).__getitem__, range(3))] == [
        expected[i] for i in (6, 1, 6)
    ]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: views[i % 8].tobytes(), range(40))) == expected * 5


IN_ANOTHER_PROCESS = """
import numpy as np
from torchvision.transforms import v2
from sktl.backbones import Preprocessing
from sktl.training._views import AugmentedImages
from sktl.images import as_images
pixels = np.random.default_rng(0).integers(0, 256, (6, 30, 40, 3)).astype(np.uint8)
own = v2.Compose([v2.RandomResizedCrop(20), v2.RandomHorizontalFlip(), v2.ColorJitter(0.3)])
for augment in ("light", "unmirrored", "trivial", own):
    opened = AugmentedImages(as_images(pixels), Preprocessing(crop_size=24, resize_size=28), augment, 1).open(2)
    print(opened.digest().hex(), opened.picture().tobytes().hex())
"""


@pytest.mark.slow
def test_a_view_is_the_same_in_another_process():
    done = subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS], capture_output=True, text=True, check=True)
    for said, augment in zip(done.stdout.splitlines(), (*AUGMENTATIONS, OWN), strict=True):
        opened = Views(as_images(make()), augment=augment, view=1).open(2)
        assert said.split() == [opened.digest().hex(), opened.picture().tobytes().hex()]


@pytest.mark.parametrize("augment", [*AUGMENTATIONS, OWN, noisy])
def test_the_global_random_states_are_left_as_they_were(augment):
    views = Views(as_images(make(8)), augment=augment, view=1)
    before = global_states()
    with ThreadPoolExecutor(4) as pool:
        together = [picture.tobytes() for picture in pool.map(views.__getitem__, range(8))]
    assert global_states() == before
    assert together == [views[i].tobytes() for i in range(8)]


def test_threads_that_read_for_the_one_that_holds_the_generators_do_not_wait_for_it():
    images = as_images(make(8))
    expected = [Views(images, augment=noisy, view=1)[i].tobytes() for i in range(8)]
    with seeded(0), ThreadPoolExecutor(4) as pool:
        first = torch.rand(3)
        views = Views(images, augment=noisy, view=1).subset(range(8))
        assert [picture.tobytes() for picture in pool.map(views.__getitem__, range(8), timeout=30)] == expected
        second = torch.rand(3)
    with seeded(0):
        assert torch.equal(torch.rand(3), first)
        assert torch.equal(torch.rand(3), second)


def test_other_readers_wait_for_whoever_holds_the_generators():
    views = Views(as_images(make(2)), augment=noisy, view=1)
    expected = views[0].tobytes()
    start = Barrier(2)

    def read():
        start.wait()
        return views[0].tobytes()

    with ThreadPoolExecutor(1) as pool:
        with seeded(0):
            pending = pool.submit(read)
            start.wait()
            drawn = [torch.rand(1).item() for _ in range(200)]
        assert pending.result(30) == expected
    with seeded(0):
        assert drawn == [torch.rand(1).item() for _ in range(200)]


def test_each_image_may_have_a_view_of_its_own():
    images = as_images(make(4))
    views = Views(images, augment="light", view=np.array([0, 3, 1, 3]))
    for i, view in enumerate([0, 3, 1, 3]):
        assert_array_equal(views[i], Views(images, augment="light", view=view)[i])
    for indices in ([3, 0], np.array([True, False, False, True])[::-1], slice(2, None)):
        part = views.subset(indices)
        assert_array_equal(part[0], views[np.arange(4)[indices][0]])
        assert len(part) == len(np.arange(4)[indices])


@pytest.mark.parametrize("view", [-1, 0.5, [0, 1], "1"])
def test_numbers_of_views_are_checked(view):
    with pytest.raises(ValueError, match=r"view must be|broadcast"):
        Views(as_images(make(4)), augment="light", view=view)


def test_digests_tell_apart_what_differs_and_nothing_else():
    images = as_images(make(2))
    other = Preprocessing(crop_size=24, resize_size=29)
    digests = [
        AugmentedImages(images, preprocessing, augment, view).open(i).digest()
        for preprocessing in (PREPROCESSING, other)
        for augment in (*AUGMENTATIONS, OWN, v2.RandomHorizontalFlip(0.5), v2.RandomHorizontalFlip(0.4), noisy)
        for view in (1, 2)
        for i in (0, 1)
    ]
    digests += [views.open(i).digest() for views in (mirrored(images, PREPROCESSING),) for i in (0, 1)]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {16}
    plain = {Views(images, augment=augment, view=0).open(0).digest() for augment in (*AUGMENTATIONS, OWN, None)}
    assert len(plain | {Views(images, augment=None, view=3).open(0).digest()}) == 1
    assert not plain & {*digests, images.digest(0)}
    equal = [v2.Compose([v2.RandomCrop(20), v2.ColorJitter(0.2)]) for _ in range(2)]
    assert len({Views(images, augment=augment, view=1).open(0).digest() for augment in equal}) == 1
    assert Views(images.subset([1, 0]), augment="light", view=1).open(1).digest() == digests[0]


@every_augment
def test_an_image_that_cannot_be_read_is_the_same_error_as_ever(augment, tmp_path):
    Image.fromarray(make(1)[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:300])
    images = as_images([str(tmp_path / name) for name in ("good.png", "bad.png", "none.png")]).subset([2, 1, 0])
    views = Views(images, augment=augment, view=1)
    assert views.describe(1) == images.describe(1)
    for i in (0, 1):
        with pytest.raises(ImageReadError) as expected:
            images[i]
        with pytest.raises(ImageReadError) as raised:
            views[i]
        assert str(raised.value) == str(expected.value)
        assert (raised.value.index, raised.value.path) == (expected.value.index, expected.value.path)


@every_augment
def test_they_are_embedded_as_images_are(augment, tmp_path):
    backbone = load_backbone("tiny_fractal")
    preprocessing = backbone.preprocessing.resized(32)
    views = AugmentedImages(as_images(make(5)), preprocessing, augment, [1, 2, 0, 1, 3])
    arguments = backbone, prepared_already(preprocessing), resolve_placement("cpu", "float32")
    store = EmbeddingStore(tmp_path, 10**8)
    first, _ = embed(views, *arguments, n_jobs=2)
    for _ in range(2):
        assert_array_equal(embed(views, *arguments, store=store, n_jobs=2)[0], first)
    pictures = as_images(np.stack([views[i] for i in range(5)]))
    assert_array_equal(embed(pictures, *arguments)[0], first)
    batches = torch.cat(list(read_prepared(views, prepared_already(preprocessing), batch_size=2)))
    assert_array_equal(batches.numpy().transpose(0, 2, 3, 1), np.stack([views[i] for i in range(5)]))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mirrored_is_the_prepared_image_from_right_to_left(dtype):
    images = as_images(make(dtype=dtype))
    mirror = mirrored(images, PREPROCESSING)
    for i in range(len(images)):
        again = prepared_already(PREPROCESSING).prepare(mirror.subset([i])[0])
        assert_array_equal(again[:, :, ::-1], PREPROCESSING.prepare(images[i]))


# What "light" and "trivial" do


def ramps(size):
    """A picture whose red says the column, whose green says the row, as floats."""
    columns, rows = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.float32)


def test_the_crop_takes_the_shares_and_ratios_that_are_stated_and_mirrors_every_second_one():
    picture, rng = ramps(200), np.random.default_rng(0)
    crops = [_picture_transforms._cropped_and_flipped(picture, PREPROCESSING, rng, may_flip=True) for _ in range(600)]
    lefts, rights = (np.array([crop[:, at, 0].mean() for crop in crops]) for at in (0, -1))
    tops, bottoms = (np.array([crop[at, :, 1].mean() for crop in crops]) for at in (0, -1))
    widths, heights = np.abs(rights - lefts) * 24 / 23, (bottoms - tops) * 24 / 23
    assert 0.43 < np.mean(rights < lefts) < 0.57
    assert heights.min() > 0
    assert 0.33 < (widths * heights).min() < 0.40
    assert (widths * heights).max() > 0.93
    assert 0.73 < (widths / heights).min() < 0.80
    assert 1.25 < (widths / heights).max() < 1.37
    assert abs(np.mean(np.log(widths / heights))) < 0.03
    centres = (tops + bottoms) / 2
    assert abs(centres.mean() - 0.5) < 0.02  # everywhere, to the edges
    assert tops.min() < 0.03
    assert bottoms.max() > 0.97


def test_unmirrored_views_are_the_light_ones_that_are_not_mirrored():
    picture = ramps(60)
    kinds = {"light": [], "unmirrored": []}
    for augment, views in kinds.items():
        for seed in range(40):
            seeds = np.random.SeedSequence(seed)
            views.append(_picture_transforms.augmented(picture, PREPROCESSING, augment, seeds))
    mirrored_ones = [view[0, 0, 0] > view[0, -1, 0] for view in kinds["light"]]
    assert 8 < sum(mirrored_ones) < 32
    for light, unmirrored, is_mirrored in zip(*kinds.values(), mirrored_ones, strict=True):
        assert_array_equal(unmirrored, light[:, ::-1] if is_mirrored else light)


def test_the_crop_is_taken_from_the_whole_picture_by_the_same_resize():
    picture = make(1, (120, 90))[0]
    found = _picture_transforms._cropped_and_flipped(picture, PREPROCESSING, np.random.default_rng(3), may_flip=True)
    draws = np.random.default_rng(3).random(5)
    area, ratio = 120 * 90 * (0.35 + 0.65 * draws[0]), (3 / 4) * (16 / 9) ** draws[1]
    height, width = (area / ratio) ** 0.5, (area * ratio) ** 0.5
    shrink = min(1, 120 / height, 90 / width)
    height, width = round(height * shrink), round(width * shrink)
    top, left = int(draws[2] * (121 - height)), int(draws[3] * (91 - width))
    expected = Image.fromarray(picture).crop((left, top, left + width, top + height))
    expected = expected.resize((24, 24), Image.Resampling.BILINEAR)
    expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws[4] < 0.5 else expected
    assert_array_equal(found, np.asarray(expected))


def test_a_row_of_features_is_neither_cropped_nor_mirrored():
    strip = np.tile(np.arange(24, dtype=np.uint8)[None, :, None] * 10, (1, 1, 3))
    found = _picture_transforms._cropped_and_flipped(strip, PREPROCESSING, np.random.default_rng(0), may_flip=True)
    assert_array_equal(found, np.repeat(strip, 24, axis=0))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_jitter_changes_brightness_and_contrast_by_a_fifth(dtype):
    white = 255 if dtype == np.uint8 else 1
    picture = (0.25 * white + 0.5 * white * ramps(24)).astype(dtype)
    means, spreads = [], []
    for seed in range(300):
        changed = _picture_transforms._jittered(picture, np.random.default_rng(seed))
        brightness, contrast = np.random.default_rng(seed).uniform(0.8, 1.2, 2)
        mean = picture.mean(dtype=float)
        expected = np.clip(brightness * (contrast * (picture.astype(float) - mean) + mean), 0, white)
        assert_allclose(changed, expected, atol=0.502 if dtype == np.uint8 else 1e-6)
        means.append(brightness)
        spreads.append(contrast)
    assert min(means) < 0.82
    assert max(spreads) > 1.18


def test_floats_beyond_the_value_range_are_not_clipped_by_the_jitter():
    picture = np.array([[[-2.0, 0.5, 3.0]]], dtype=np.float32)
    changed = _picture_transforms._jittered(picture, np.random.default_rng(0))
    assert changed.min() < 0
    assert changed.max() > 1


NAMES = list(v2.TrivialAugmentWide._AUGMENTATION_SPACE)
STRENGTHS = [-1.0, -0.5, -1 / 30, 0.0, 1 / 30, 0.5, 1.0]


@pytest.mark.parametrize("of_floats", [False, True])
@pytest.mark.parametrize("number", range(14), ids=NAMES)
def test_trivial_does_what_torchvision_does(number, of_floats):
    pixels = make(1, (64, 64), seed=number)[0]
    image = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1) if of_floats else Image.fromarray(pixels)
    magnitudes, signed = v2.TrivialAugmentWide._AUGMENTATION_SPACE[NAMES[number]]
    for strength in STRENGTHS:
        table = magnitudes(31, 64, 64)
        magnitude = 0.0 if table is None else round(float(table[round(abs(strength) * 30)]), 4)
        magnitude *= np.sign(strength) if signed and strength else 1
        expected = v2.TrivialAugmentWide()._apply_image_or_video_transform(
            image, NAMES[number], magnitude, interpolation=v2.InterpolationMode.NEAREST, fill={"others": None}
        )
        found = _picture_transforms._TRIVIAL[number](image, strength)
        assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5 if of_floats else 0)


def test_trivial_applies_every_operation_about_as_often(monkeypatch):
    counts = np.zeros(14)

    def counting(number):
        def operation(image, strength):
            counts[number] += 1
            assert -1 <= strength <= 1
            return image

        return operation

    monkeypatch.setattr(_picture_transforms, "_TRIVIAL", tuple(counting(number) for number in range(14)))
    rng = np.random.default_rng(0)
    for _ in range(1400):
        _picture_transforms._trivially_augmented(make(1, (4, 4))[0], rng)
    assert counts.min() > 65
    assert counts.max() < 140


def test_a_small_image_is_not_pushed_out_of_sight():
    white = Image.new("RGB", (16, 16), "white")
    assert np.asarray(_picture_transforms._TRIVIAL[3](white, 1.0)).mean() > 120


# Transforms of the user's own


def test_a_transform_gets_bytes_of_the_whole_picture_and_its_result_is_prepared():
    seen = []

    def transform(image):
        seen.append(image)
        return image[:, 5:, 7:]

    images = as_images(make(2))
    views = Views(images, augment=transform, view=1)
    assert_array_equal(views[1].transpose(2, 0, 1), PREPROCESSING.prepare(images[1][5:, 7:]))
    assert type(seen[0]) is torch.Tensor
    assert (seen[0].shape, seen[0].dtype) == ((3, 30, 40), torch.uint8)
    assert_array_equal(seen[0].permute(1, 2, 0), images[1])


def test_floats_go_in_as_bytes_and_come_out_as_floats():
    images = as_images(make(1, dtype=np.float32))
    found = Views(images, augment=lambda image: image, view=1)[0]
    assert found.dtype == np.float32
    assert_allclose(found.transpose(2, 0, 1), PREPROCESSING.prepare(images[0]), atol=1e-6)
    of_floats = Views(as_images(make(1)), augment=v2.ToDtype(torch.float32, scale=True), view=1)[0]
    assert_allclose(of_floats, found, atol=1e-6)


def test_the_caller_may_change_the_picture_in_place():
    pixels = make(1)
    before = pixels.copy()
    assert (Views(as_images(pixels), augment=lambda image: image.zero_(), view=1)[0] == 0).all()
    assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image: image[0], r"Got shape \(30, 40\) for image 5 instead"),
        (lambda image: image[:1], r"Got shape \(1, 30, 40\)"),
        (lambda image: image[:, :0], r"Got shape \(3, 0, 40\)"),
        (lambda image: image.numpy(), "Got an object of type ndarray for image 5"),
        (lambda image: image.long(), r"Got dtype torch\.int64"),
        (lambda image: image.float(), r"Got floats from 0 to 25\d .*leave out Normalize"),
        (lambda image: image.float() * torch.nan, "Got floats from nan to nan"),
        (lambda image: image.nonsense, "Got AttributeError for image 5 instead: .*nonsense"),
    ],
)
def test_what_is_wrong_with_a_transform_is_said_with_the_image(transform, message):
    views = Views(as_images(make()).subset([5]), augment=transform, view=1)
    before = global_states()
    with pytest.raises(ValueError, match=message) as raised:
        views[0]
    assert str(raised.value).startswith("augment must turn a uint8 tensor (3, height, width) into a tensor (3, ")
    assert not isinstance(raised.value, ImageReadError)
    assert global_states() == before
