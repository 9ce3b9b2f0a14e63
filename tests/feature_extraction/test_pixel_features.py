import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import check_estimator

from sktl.feature_extraction import PixelFeatures
from sktl.feature_extraction._pixel_features import _KEPT

RNG = np.random.default_rng(0)


def reference(picture, size):
    """Torch's own averaging over fields, which overlap only where the fields do not come out even."""
    tensor = torch.as_tensor(picture, dtype=torch.float64).permute(2, 0, 1)[None]
    return torch.nn.functional.adaptive_avg_pool2d(tensor, size)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("shape", [(32, 32), (48, 16), (16, 64)])
def test_each_field_is_the_mean_of_its_pixels(shape):
    pictures = RNG.integers(0, 256, size=(3, *shape, 3), dtype=np.uint8)
    features = PixelFeatures(size=8).fit_transform(pictures)
    assert features.dtype == np.float32
    expected = np.stack([reference(picture, 8) for picture in pictures]) / 255
    np.testing.assert_allclose(features, expected.reshape(3, -1), atol=1e-6)


def test_uneven_sides_are_divided_into_whole_pixels_that_all_count():
    picture = RNG.random((1, 7, 5, 3))
    (features,) = PixelFeatures(size=2).fit_transform(picture).reshape(1, 2, 2, 3)
    np.testing.assert_allclose(features[0, 1], picture[0, :3, 2:].mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(features[1, 0], picture[0, 3:, :2].mean(axis=(0, 1)), atol=1e-6)


def test_a_picture_smaller_than_the_fields_is_repeated():
    picture = RNG.integers(0, 256, size=(1, 2, 2, 3), dtype=np.uint8)
    features = PixelFeatures(size=4).fit_transform(picture).reshape(4, 4, 3)
    np.testing.assert_allclose(features, picture[0].repeat(2, axis=0).repeat(2, axis=1) / 255, atol=1e-6)


def test_images_are_seen_as_a_person_sees_them(tmp_path):
    upright = np.zeros((20, 40, 3), dtype=np.uint8)
    upright[:, 20:] = (255, 0, 0)
    turned = Image.fromarray(upright).rotate(90, expand=True)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter when shown
    turned.save(tmp_path / "turned.png", exif=exif)
    left, right = PixelFeatures(size=2).fit_transform([tmp_path / "turned.png"]).reshape(2, 2, 3)[0]
    np.testing.assert_array_equal([left, right], [[0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("value_range", [None, (0, 16)])
def test_numbers_are_mapped_to_the_range_from_black_to_white(value_range):
    images = load_digits().images[:50]
    model = PixelFeatures(size=8, value_range=value_range).fit(images)
    assert model.value_range_ == (0, 16)
    features = model.transform(images).reshape(50, 8, 8, 3)
    np.testing.assert_allclose(features, np.repeat(images[..., None], 3, axis=3) / 16, atol=1e-6)
    brighter = model.transform(2 * images)
    assert (brighter.min(), brighter.max()) == (0, 1)


def test_flattened_images_are_folded_by_their_shape():
    pictures = RNG.random((5, 6, 4, 3))
    flat = PixelFeatures(size=2, image_shape=(6, 4, 3)).fit_transform(pictures.reshape(5, -1))
    np.testing.assert_array_equal(flat, PixelFeatures(size=2).fit_transform(pictures))


def test_what_is_kept_is_not_mistaken_for_another_size_or_range():
    images = RNG.random((4, 8, 8))
    wide = PixelFeatures(size=4, value_range=(0, 2)).fit_transform(images)
    np.testing.assert_allclose(2 * wide, PixelFeatures(size=4).fit_transform(images), rtol=1e-5)
    assert PixelFeatures(size=2).fit_transform(images).shape == (4, 12)


def test_an_image_is_decoded_once(tmp_path, monkeypatch):
    paths = []
    for number in range(3):
        Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    first = PixelFeatures().fit_transform(paths)
    monkeypatch.setattr("sktl.images._opened.OpenedImage.picture", None)
    np.testing.assert_array_equal(PixelFeatures().fit_transform(paths[::-1]), first[::-1])


def test_memory_of_former_images_has_a_limit(monkeypatch):
    monkeypatch.setattr("sktl.feature_extraction._pixel_features._MAX_BYTES", 10 * 12 * 4)
    _KEPT.clear()
    PixelFeatures(size=2).fit_transform(RNG.random((30, 4, 4)))
    assert len(_KEPT) == 10


def test_parameters_are_only_stored_and_names_follow_them():
    model = clone(PixelFeatures(size=3).set_params(size=12)).fit(RNG.random((2, 5, 5)))
    names = model.get_feature_names_out()
    assert (names[0], names[-1], len(names)) == ("pixel_00_00_red", "pixel_11_11_blue", 432)
    assert model.set_output(transform="pandas").transform(RNG.random((2, 5, 5))).columns.tolist() == names.tolist()


def test_scikit_learn_has_nothing_to_object():
    results = check_estimator(PixelFeatures(), on_skip=None)
    assert len(results) > 35
    assert {result["status"] for result in results} <= {"passed", "skipped"}
