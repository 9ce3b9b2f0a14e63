"""What happens to a picture before the network sees it: the same as when its weights were trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from sktl._validation import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Preprocessing"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_PILLOW_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
# Of these torch has none: floats are resized by Pillow, too, one colour at a time.
_PILLOW_ONLY = ("lanczos", "box", "hamming")
_CROP_MODES = ("center", "floor", "squash", "border")
# Only the centre of a picture survives the crop. Beyond this ratio of its sides the rest is cut off before the picture
# is enlarged, or a hair of 2 x 10000 pixels would take gigabytes on the way to 224 x 224.
_LONGEST_RATIO = 100


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop and normalisation that belong to the weights of a network.

    Follows torchvision's ``ImageClassification`` preset and timm's ``create_transform`` step by step, but stops between
    crop and normalisation: a picture is resized and cropped where it is read, and stays in bytes until it has travelled
    to the device.

    Parameters
    ----------
    crop_size : int, default=224
        Side of the square that the network sees, in pixels.
    resize_size : int or None, default=None
        Length in pixels that the shorter side is resized to before the crop, or as `crop_mode` says; None means
        `crop_size`. When it is less than `crop_size`, the rest of the square is black.
    interpolation : {"bilinear", "bicubic", "nearest", "lanczos", "box", "hamming"}, default="bilinear"
        How to resize; all but "nearest" are antialiased when they shrink.
    mean, std : tuple of 3 floats, default=ImageNet's
        Subtracted from, then divided into the red, green and blue values in [0, 1].
    crop_mode : {"center", "floor", "squash", "border"}, default="center"
        What has the length `resize_size` before the centre is cropped: the shorter side; the same, but half a pixel at
        the top and left is rounded down, as transformers does; both sides, whatever the proportions; or the longer
        side, and where the picture ends the square has the colour `mean`.

    Raises
    ------
    ValueError
        If a size is not a positive whole number, `interpolation` or `crop_mode` is unknown, or `mean` and `std` are not
        three finite numbers, those of `std` positive.

    See Also
    --------
    load_backbone : Brings the preprocessing of its weights along.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.backbones import Preprocessing
    >>> preprocessing = Preprocessing(crop_size=224, resize_size=256)
    >>> preprocessing.prepare(np.zeros((300, 400, 3), dtype=np.uint8)).shape
    (3, 224, 224)
    >>> preprocessing.resized(112).resize_size
    128
    """

    crop_size: int = 224
    resize_size: int | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    crop_mode: str = "center"

    def __post_init__(self):
        # A frozen dataclass sets its fields through object; here to plain Python numbers, so that equal means equal.
        set_field = object.__setattr__
        set_field(self, "crop_size", _whole_number("crop_size", self.crop_size))
        size = self.crop_size if self.resize_size is None else self.resize_size
        set_field(self, "resize_size", _whole_number("resize_size", size))
        for name, known in (("interpolation", _PILLOW_FILTERS), ("crop_mode", _CROP_MODES)):
            value = getattr(self, name)
            if value not in known:
                message = f"{name} must be one of {sorted(known)}. Got {value!r} instead."
                raise ValueError(message + did_you_mean(value, known))
        set_field(self, "mean", _three_numbers("mean", self.mean))
        set_field(self, "std", _three_numbers("std", self.std))
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, since pictures are divided by it. Got {self.std!r} instead.")

    def __repr__(self):
        # Keys of stored vectors are made of it, and most of these are older than the way to crop.
        shown = [each.name for each in fields(self) if each.name != "crop_mode" or self.crop_mode != "center"]
        return f"Preprocessing({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def resized(self, image_size: int) -> Preprocessing:
        """Return the same preprocessing for another image size.

        Parameters
        ----------
        image_size : int
            New `crop_size` in pixels; `resize_size` changes by the same ratio.

        Returns
        -------
        Preprocessing
            This one when the size is the same.
        """
        image_size = _whole_number("image_size", image_size)
        if image_size == self.crop_size:
            return self
        resize_size = max(1, round(image_size * (self.resize_size or self.crop_size) / self.crop_size))
        return replace(self, crop_size=image_size, resize_size=resize_size)

    def prepare(self, image: NDArray[Any]) -> NDArray[Any]:
        """Resize one picture and crop its centre.

        Bytes take the way that torchvision and timm give a PIL image and come out bit-equal to it; floats take the way
        that torchvision gives a tensor, or that of bytes where torch has no such filter. A picture one pixel high or
        wide is a row of features rather than a scene: it is stretched over the whole square, so that none of it is
        cropped off.

        Parameters
        ----------
        image : ndarray of shape (height, width, 3), uint8 or float32
            One picture in red, green, blue. It is only read.

        Returns
        -------
        ndarray of shape (3, crop_size, crop_size), uint8 or float32
            A new, contiguous array.
        """
        size = self.crop_size
        if min(image.shape[:2]) == 1:
            return _planes(self.resize_to(image, size, size))
        if self.crop_mode in ("center", "floor"):
            image = _cut_long_ends(image)
        resized = self.resize_to(image, *self._new_sides(image))
        return _planes(_crop_centre(resized, size, self._colour(image), self.crop_mode == "floor"))

    def seen_part(self, image: NDArray[Any]) -> tuple[float, ...]:
        """Return which part of a picture the network sees.

        Parameters
        ----------
        image : ndarray of shape (height, width, 3)
            One picture.

        Returns
        -------
        top, bottom, left, right : float
            Edges of the square that `prepare` makes, as shares of height and width: 0 and 1 are the edges of the
            picture. Beyond them lies what is filled up.

        Examples
        --------
        >>> import numpy as np
        >>> from sktl.backbones import load_backbone
        >>> preprocessing = load_backbone("resnet18", weights=None).preprocessing  # 256 pixels, of which 224 are kept
        >>> preprocessing.seen_part(np.zeros((256, 512, 3)))
        (0.0625, 0.9375, 0.28125, 0.71875)
        """
        whole = np.array(image.shape[:2])
        if min(whole) == 1:
            return 0.0, 1.0, 0.0, 1.0
        kept = _cut_long_ends(image) if self.crop_mode in ("center", "floor") else image
        half = self.crop_size / np.array(self._new_sides(kept)) * kept.shape[:2] / whole / 2
        return tuple(float(0.5 + sign * part) for part in half for sign in (-1, 1))

    def _new_sides(self, image):
        """Return height and width before the crop; rounds as torchvision does, for "border" as timm does."""
        height, width = image.shape[:2]
        if self.crop_mode == "squash":
            return self.resize_size, self.resize_size
        if self.crop_mode == "border":
            ratio = max(height / self.resize_size, width / self.resize_size)
            return max(1, round(height / ratio)), max(1, round(width / ratio))
        long = int(self.resize_size * max(height, width) / min(height, width))
        return (self.resize_size, long) if height <= width else (long, self.resize_size)

    def _colour(self, image):
        """Return the colour of the square where the picture ends: black, for "border" the mean."""
        if self.crop_mode != "border":
            return 0
        return self.mean if image.dtype != np.uint8 else np.clip(np.rint(255 * np.array(self.mean)), 0, 255)

    def normalize(self, batch: Any) -> Any:
        """Turn prepared pictures into what the network takes.

        Parameters
        ----------
        batch : torch.Tensor of shape (n_images, 3, crop_size, crop_size)
            Bytes, or floats in [0, 1]. It is only read.

        Returns
        -------
        torch.Tensor of shape (n_images, 3, crop_size, crop_size), float32
            Normalised pictures on the device of `batch`.
        """
        normalized = batch.to(torch.float32, copy=True)
        if not batch.is_floating_point():
            normalized.div_(255)
        mean = torch.tensor(self.mean, device=batch.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=batch.device).view(3, 1, 1)
        return normalized.sub_(mean).div_(std)

    def resize_to(self, image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
        """Resize a picture to a size, whatever its own proportions.

        Parameters
        ----------
        image : ndarray of shape (h, w, 3), uint8 or float32
            One picture. It is only read.
        height, width : int
            New size in pixels.

        Returns
        -------
        ndarray of shape (height, width, 3)
            The same array when the size is right already.
        """
        if image.shape[:2] == (height, width):
            return image
        if image.dtype == np.uint8:
            picture = Image.fromarray(np.ascontiguousarray(image))
            return np.asarray(picture.resize((width, height), _PILLOW_FILTERS[self.interpolation]))
        if self.interpolation in _PILLOW_ONLY:
            colours = [Image.fromarray(np.ascontiguousarray(image[..., i], dtype=np.float32)) for i in range(3)]
            small = [colour.resize((width, height), _PILLOW_FILTERS[self.interpolation]) for colour in colours]
            return np.stack([np.asarray(colour) for colour in small], axis=-1)
        # One copy, also because torch warns about arrays that are read-only.
        planes = torch.from_numpy(np.array(image.transpose(2, 0, 1), dtype=np.float32, order="C"))
        smooth = self.interpolation != "nearest"
        resized = torch.nn.functional.interpolate(
            planes[None],
            size=(height, width),
            mode=self.interpolation,
            align_corners=False if smooth else None,
            antialias=smooth,
        )
        return resized[0].numpy().transpose(1, 2, 0)


def _cut_long_ends(image):
    """Cut equal lengths off both ends of a picture whose sides differ by more than the longest ratio."""
    axis = int(image.shape[1] > image.shape[0])
    excess = image.shape[axis] - image.shape[1 - axis] * _LONGEST_RATIO
    if excess < 2:
        return image
    cut = slice(excess // 2, image.shape[axis] - excess // 2)
    return image[:, cut] if axis else image[cut]


def _crop_centre(image, size, colour, floor):
    """Return the central square, with a colour where the picture ends; rounds as torchvision or transformers does."""
    height, width = image.shape[:2]
    if height < size or width < size:
        top, left = max(0, (size - height + floor) // 2), max(0, (size - width + floor) // 2)
        padded = np.empty((max(size, height), max(size, width), 3), dtype=image.dtype)
        padded[:] = colour
        padded[top : top + height, left : left + width] = image
        image, (height, width) = padded, padded.shape[:2]
    rounded = math.floor if floor else round
    top, left = rounded((height - size) / 2.0), rounded((width - size) / 2.0)
    return image[top : top + size, left : left + size]


def _planes(image):
    """Copy (height, width, 3) into (3, height, width); always a copy, as the picture may be the caller's."""
    return np.array(image.transpose(2, 0, 1), order="C")


def _whole_number(name, value):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a positive whole number of pixels. Got {value!r} instead.")
    return int(value)


def _three_numbers(name, values):
    try:
        numbers = tuple(values)
    except TypeError:
        numbers = ()
    if len(numbers) != 3 or not all(isinstance(number, Real) and np.isfinite(number) for number in numbers):
        raise ValueError(f"{name} must be three numbers, for red, green and blue. Got {values!r} instead.")
    return tuple(float(number) for number in numbers)
