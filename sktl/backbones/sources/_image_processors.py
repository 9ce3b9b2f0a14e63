"""The preprocessing of transformers' image processors: told from their settings, and compared on trial pictures."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones.sources._transformers import image_size_of, quiet, transformers
from sktl.exceptions import WeightsError

__all__ = ["flips_channels", "preprocessing_of", "processor_in", "usual_processor"]

_FILES = ("preprocessor_config.json", "processor_config.json")
_FILTERS = {each.value: each.name.lower() for each in Image.Resampling}
# Floats are divided by 255 there and multiplied by 1 / 255 here, or both at once with the normalisation.
_TOLERANCE = 1e-5
# Some processors resize by torchvision alone, floats even: Pillow rounds to bytes twice on the way.
_LEVELS_OF_TORCHVISION = 2.0
_TRIAL_SIDES = ((97, 64), (61, 98), (300, 203), (67, 68))  # among them odd numbers of rows to crop, or to add


def processor_in(folder, configuration):
    """Return the image processor that a folder describes, the one that computes by Pillow; None if it has none."""
    if not any((Path(folder) / name).is_file() for name in _FILES):
        return None
    library = transformers()
    try:
        with quiet():
            return library.AutoImageProcessor.from_pretrained(
                folder, config=configuration, backend="pil", trust_remote_code=False, local_files_only=True
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{str(folder)!r} must describe an image processor of this transformers. It cannot be read ({reason}): "
            "pass preprocessing=Preprocessing(...), or copy or download it again."
        ) from error


def usual_processor(configuration):
    """Return the image processor that transformers has for a kind of network, at the size the network is built for."""
    library = transformers()
    with quiet():
        found = library.IMAGE_PROCESSOR_MAPPING.get(type(configuration), None)
        found = found.get("pil") if isinstance(found, dict) else found
        processor = None if found is None else found()
    size = image_size_of(configuration)
    if processor is not None and size is not None:
        is_square = getattr(processor.size, "shortest_edge", None) is None
        processor.size = {"height": size, "width": size} if is_square else {"shortest_edge": size}
        processor.crop_size = {"height": size, "width": size}
    return processor


def flips_channels(processor):
    """Return whether an image processor gives blue, green and red in this order."""
    return bool(getattr(processor, "do_flip_channel_order", False))


def preprocessing_of(processor, configuration, name):
    """Return the Preprocessing that gives the same pictures as an image processor, or say that there is none.

    Without a processor, pictures are squashed to the size of the network and normalised as for ImageNet.
    """
    if processor is None:
        return Preprocessing(image_size_of(configuration) or 224, interpolation="bicubic", crop_mode="squash")
    trials = [_trial(*sides) for sides in _TRIAL_SIDES]
    with quiet():
        expected = [_processed(processor, picture) for picture in trials]
    for candidate in _candidates(processor):
        if all(_agree(candidate, processor, *pair) for pair in zip(trials, expected, strict=True)):
            return candidate
    raise ValueError(
        f"the image processor of {name} must resize, crop the centre of a square, and normalise. Got "
        f"{type(processor).__name__} instead, which does something else with a picture: {_settings(processor)}. Pass "
        "preprocessing=Preprocessing(...) with what comes closest."
    )


def _trial(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _processed(processor, picture):
    try:
        return np.asarray(processor(images=Image.fromarray(picture), return_tensors="np")["pixel_values"][0])
    except Exception:  # settings that do not go together fail in any way they like
        return None


def _agree(candidate, processor, picture, expected):
    images = candidate.normalize(torch.from_numpy(candidate.prepare(picture)[None]))[0].numpy()
    images = images[::-1] if flips_channels(processor) else images
    if expected is None or images.shape != expected.shape:
        return False
    by_torchvision = getattr(processor, "backend", None) == "torchvision"
    tolerance = _LEVELS_OF_TORCHVISION / 255 / min(candidate.std) if by_torchvision else _TOLERANCE
    return np.abs(images - expected).max() <= tolerance


def _candidates(processor):
    """Yield what an image processor may do with a picture, by its settings and the habits of its kind."""
    size, crop = _Sides(getattr(processor, "size", None)), _Sides(getattr(processor, "crop_size", None))
    mean, std = _normalisation(processor)
    options = {"interpolation": _FILTERS.get(int(processor.resample or 0)), "mean": mean, "std": std}
    crops = getattr(processor, "do_center_crop", False)
    crop_size = crop.square if crops else size.square or size.shortest
    shares = {1, getattr(processor, "crop_pct", None) or 1, 224 / 256}
    if options["interpolation"] is None or crop_size is None or not getattr(processor, "do_resize", False):
        return
    for crop_mode, side in (("squash", size.square or size.shortest), ("floor", size.shortest)):
        for share in sorted(shares, reverse=True) if side is not None else ():
            for resize_size in {int(side / share), int(side * (1 / share))}:
                with suppress(ValueError):  # of sizes and numbers that no preprocessing has
                    yield Preprocessing(crop_size, resize_size, crop_mode=crop_mode, **options)


class _Sides:
    """Sides of a picture as transformers writes them: a square, or the shortest one."""

    def __init__(self, size):
        sides = {} if size is None else {"height": size, "width": size} if isinstance(size, int) else dict(size)
        self.shortest = sides.get("shortest_edge")
        self.square = sides.get("height") if sides.get("height") == sides.get("width") else None


def _normalisation(processor):
    """Return mean and deviation of values from 0 to 1, which say what is computed from values from 0 to 255."""
    normalises = getattr(processor, "do_normalize", False)
    mean = np.broadcast_to(processor.image_mean if normalises else 0.0, 3)
    std = np.broadcast_to(processor.image_std if normalises else 1.0, 3)
    if getattr(processor, "include_top", False):  # efficientnet's are divided twice
        mean, std = mean, std * processor.image_std
    factor = processor.rescale_factor if processor.do_rescale else 1.0
    scale = 1.0 if abs(255 * factor - 1) < 1e-6 else 255 * factor
    offset = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    return tuple((np.array(mean) + offset) / scale), tuple(np.array(std) / scale)


def _settings(processor):
    names = ("do_resize", "size", "do_center_crop", "crop_size", "do_rescale", "do_normalize")
    return json.dumps({name: getattr(processor, name, None) for name in names}, default=lambda each: str(dict(each)))
