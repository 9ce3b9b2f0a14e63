"""Augmentation of one picture: the named augmentations, and transforms of the user."""

import math
from contextlib import nullcontext
from threading import RLock

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from sktl._forking import free_after_fork
from sktl.backbones.seeding import GLOBAL_RNG_LOCK, seeded_without_lock
from sktl.images.pixels import as_bytes

_SCALE, _RATIO = (0.35, 1.0), (3 / 4, 4 / 3)  # of the random crop: share of the area, width by height
_JITTER = 0.2
_OVERSHOOT = 0.5  # beyond [0, 1]: bicubic resizing gets there, normalised pictures get further
# One transform of the user's own at a time: it draws from the generators of the process.
_TURNS = free_after_fork(RLock())
_CONTRACT = (
    "augment must turn a uint8 tensor (3, height, width) into a tensor (3, new_height, new_width), of uint8 or of "
    "floats in [0, 1]."
)


def augmented(picture, preprocessing, augment, seeds):
    """Apply an augmentation by name."""
    rng = np.random.default_rng(seeds)
    cropped = _cropped_and_flipped(picture, preprocessing, rng, may_flip=augment != "unmirrored")
    return _trivially_augmented(cropped, rng) if augment == "trivial" else _jittered(cropped, rng)


def transformed(picture, transform, seeds, *, lent, name):
    """Apply a transform of the user's own."""
    planes = torch.from_numpy(np.array(as_bytes(picture).transpose(2, 0, 1), order="C"))
    seed = int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1))
    try:
        # Other threads wait, but for those that read for the one that lent them the generators.
        with nullcontext() if lent else GLOBAL_RNG_LOCK, _TURNS, seeded_without_lock(seed, python=True):
            result = transform(planes)
    except Exception as error:
        raise ValueError(f"{_CONTRACT} Got {type(error).__name__} for {name()} instead: {error}") from error
    problem = _problem(result)
    if problem:
        raise ValueError(f"{_CONTRACT} Got {problem} for {name()} instead.")
    planes = result.detach().cpu().as_subclass(torch.Tensor)
    planes = planes.float().clamp(0, 1) if planes.is_floating_point() else planes
    result = planes.numpy().transpose(1, 2, 0)
    return result / np.float32(255) if picture.dtype != np.uint8 and result.dtype == np.uint8 else result


def _cropped_and_flipped(picture, preprocessing, rng, *, may_flip):
    """Cut out a rectangle, stretch it to the size of the network, and mirror every second one where that is allowed.

    As torchvision's RandomResizedCrop, but a rectangle that does not fit is made smaller instead of drawn again.
    """
    share, ratio, down, right, flip = rng.random(5)
    height, width = picture.shape[:2]
    size = preprocessing.crop_size
    if min(height, width) == 1:  # a row of features: no place in it is like another
        return preprocessing.resize_to(picture, size, size)
    area = height * width * (_SCALE[0] + share * (_SCALE[1] - _SCALE[0]))
    ratio = math.exp(math.log(_RATIO[0]) + ratio * math.log(_RATIO[1] / _RATIO[0]))
    new_height, new_width = math.sqrt(area / ratio), math.sqrt(area * ratio)
    shrink = min(1.0, height / new_height, width / new_width)
    new_height, new_width = max(1, round(new_height * shrink)), max(1, round(new_width * shrink))
    top, left = int(down * (height - new_height + 1)), int(right * (width - new_width + 1))
    region = preprocessing.resize_to(picture[top : top + new_height, left : left + new_width], size, size)
    return np.ascontiguousarray(region[:, ::-1]) if may_flip and flip < 0.5 else region


def _jittered(picture, rng):
    """Change brightness, and contrast about the mean."""
    brightness, contrast = rng.uniform(1 - _JITTER, 1 + _JITTER, 2)
    scale, shift = contrast * brightness, (1 - contrast) * brightness * picture.mean(dtype=np.float64)
    if picture.dtype == np.uint8:
        table = np.clip(np.rint(np.arange(256) * scale + shift), 0, 255).astype(np.uint8)
        return np.take(table, picture)
    low, high = min(0.0, float(picture.min())), max(1.0, float(picture.max()))
    return np.clip(picture * np.float32(scale) + np.float32(shift), low, high)


def _affine(image, *, translate=(0, 0), shear=(0.0, 0.0), center=None):
    return tv.affine(image, angle=0.0, translate=list(translate), scale=1.0, shear=list(shear), center=center)


def _angle(strength):
    return math.degrees(math.atan(0.99 * strength))


def _pixels(image, strength):
    # 32 in the paper; a small image would be pushed out of sight.
    return int(strength * min(32, tv.get_size(image)[0] // 2))


# The wide space of TrivialAugment (Müller & Hutter 2021, arXiv:2103.10158, table 1) with torchvision's constants; the
# strength is in [-1, 1], and what has no sign takes its absolute value.
_TRIVIAL = (
    lambda image, strength: image,
    lambda image, strength: _affine(image, shear=(_angle(strength), 0.0), center=[0, 0]),
    lambda image, strength: _affine(image, shear=(0.0, _angle(strength)), center=[0, 0]),
    lambda image, strength: _affine(image, translate=(_pixels(image, strength), 0)),
    lambda image, strength: _affine(image, translate=(0, _pixels(image, strength))),
    lambda image, strength: tv.rotate(image, 135.0 * strength),
    lambda image, strength: tv.adjust_brightness(image, 1 + 0.99 * strength),
    lambda image, strength: tv.adjust_saturation(image, 1 + 0.99 * strength),
    lambda image, strength: tv.adjust_contrast(image, 1 + 0.99 * strength),
    lambda image, strength: tv.adjust_sharpness(image, 1 + 0.99 * strength),
    lambda image, strength: tv.posterize(image, 8 - round(6 * abs(strength))),
    lambda image, strength: tv.solarize(image, (255 if isinstance(image, Image.Image) else 1) * (1 - abs(strength))),
    lambda image, strength: tv.autocontrast(image),
    lambda image, strength: tv.equalize(image),
)


def _trivially_augmented(picture, rng):
    """Apply one operation of one strength. TrivialAugmentWide itself would draw from torch's global generator."""
    operation = _TRIVIAL[rng.integers(len(_TRIVIAL))]
    strength = float(rng.integers(31)) / 30 * (-1) ** int(rng.integers(2))
    if picture.dtype == np.uint8:
        return np.asarray(operation(Image.fromarray(np.ascontiguousarray(picture)), strength))
    planes = torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))
    return operation(planes, strength).numpy().transpose(1, 2, 0)


def _problem(result):
    """Say what is wrong with the result of a transform, if anything."""
    if not isinstance(result, torch.Tensor):
        return f"an object of type {type(result).__name__}"
    if result.ndim != 3 or result.shape[0] != 3 or not result.numel():
        return f"shape {tuple(result.shape)}"
    if result.dtype == torch.uint8:
        return None
    if not result.is_floating_point():
        return f"dtype {result.dtype}"
    low, high = float(result.min()), float(result.max())
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        return None
    return f"floats from {low:g} to {high:g} (leave out Normalize, which comes afterwards)"
