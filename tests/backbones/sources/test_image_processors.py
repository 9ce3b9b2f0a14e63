"""The preprocessing of an image processor of transformers gives the pictures that the processor gives."""
# ruff: noqa: E402

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

transformers = pytest.importorskip("transformers")

from sktl.backbones.sources._image_processors import flips_channels, preprocessing_of, usual_processor

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
# Class → settings, some of them as in well-known repositories.
PROCESSORS = {
    "ViT": {},
    "ViT, bicubic": {"size": {"height": 256, "width": 256}, "resample": 3},
    "Bit": {"size": {"shortest_edge": 256}, **IMAGENET},  # DINOv2
    "CLIP": {},
    "Siglip": {},
    "DeiT": {},
    "Beit": {},
    "ConvNext": {"size": {"shortest_edge": 224}, **IMAGENET},
    "ConvNext, 0.95": {"size": {"shortest_edge": 288}, "crop_pct": 0.95},
    "ConvNext, large": {},
    "EfficientNet": {},
    "EfficientNet, offset": {"rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False},
    "Levit": {},
    "MobileNetV1": {},
    "MobileNetV2": {},
    "MobileViT": {"size": {"shortest_edge": 288}},
    "MobileViT, padded": {},
    "PoolFormer": {},
    "Pvt": {},
    "Segformer": {},
}
NO_CONFIGURATION = SimpleNamespace()


def processor_of(case):
    return getattr(transformers, f"{case.split(',')[0]}ImageProcessorPil")(**PROCESSORS[case])


def pictures_of(n_pictures):
    rng = np.random.default_rng(5)
    for height, width in rng.integers(20, 420, (n_pictures, 2)):
        yield rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def both(processor, picture):
    preprocessing = preprocessing_of(processor, NO_CONFIGURATION, "a network")
    ours = preprocessing.normalize(torch.from_numpy(preprocessing.prepare(picture)[None]))[0].numpy()
    ours = ours[::-1] if flips_channels(processor) else ours
    theirs = processor(images=Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    return ours, theirs


@pytest.mark.parametrize("case", PROCESSORS)
def test_pictures_are_those_of_a_processor_by_pillow(case):
    processor = processor_of(case)
    for picture in pictures_of(5):
        ours, theirs = both(processor, picture)
        if case == "EfficientNet, offset":  # which subtracts one after the division
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        else:
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("case", PROCESSORS)
def test_photos_are_those_of_a_processor_by_pillow(case, shared_data):
    photos = sorted((shared_data / "datasets").rglob("*.jp*g"))
    assert len(photos) >= 20
    for photo in photos[:: len(photos) // 20][:20]:
        with Image.open(photo) as image:
            ours, theirs = both(processor_of(case), np.asarray(image.convert("RGB")))
        np.testing.assert_allclose(ours, theirs, atol=1e-6 if case == "EfficientNet, offset" else 0)


def test_pictures_are_within_two_levels_of_a_processor_that_has_torchvision_alone():
    processor = transformers.DINOv3ViTImageProcessor()
    for picture in pictures_of(3):
        ours, theirs = both(processor, picture)
        np.testing.assert_allclose(ours, theirs, atol=2 / 255 / min(processor.image_std))


@pytest.mark.parametrize(
    "processor",
    [
        transformers.ViTImageProcessorPil(size={"height": 64, "width": 48}),
        transformers.ViTImageProcessorPil(do_resize=False),
        transformers.TextNetImageProcessorPil(),
        transformers.Siglip2ImageProcessorPil(),
    ],
)
def test_what_no_preprocessing_does_is_an_error(processor):
    with pytest.raises(ValueError, match=r"Pass preprocessing=Preprocessing\(\.\.\.\)"):
        preprocessing_of(processor, NO_CONFIGURATION, "a network")


def test_without_settings_the_usual_ones_are_taken_at_the_size_of_the_network():
    vit = transformers.ViTConfig(image_size=32)
    preprocessing = preprocessing_of(usual_processor(vit), vit, "a network")
    assert (preprocessing.crop_size, preprocessing.crop_mode, preprocessing.mean) == (32, "squash", (0.5, 0.5, 0.5))
    unknown = transformers.DINOv3ViTConfig(image_size=48)
    preprocessing = preprocessing_of(usual_processor(unknown), unknown, "a network")
    assert (preprocessing.crop_size, preprocessing.mean) == (48, (0.485, 0.456, 0.406))
