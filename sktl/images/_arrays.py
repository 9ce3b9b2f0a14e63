"""One array of pixels, in any layout and dtype → a picture (H, W, 3)."""

import numpy as np
from scipy.sparse import issparse

from sktl.exceptions import ImageReadError

CHANNELS = (1, 3, 4)


def is_tensor(item):
    """Whether the object behaves like a torch tensor; torch itself is not imported to find out."""
    return all(hasattr(item, name) for name in ("detach", "cpu", "numpy", "layout"))


def is_array(item):
    """Whether the object behaves like an array: numpy, memmap, h5py, zarr, dask, tensor."""
    return isinstance(item, np.ndarray) or is_tensor(item) or _quacks_like_an_array(item)


def _quacks_like_an_array(item):
    if isinstance(item, np.generic):  # a numpy string has a shape too
        return False
    named = all(hasattr(item, name) for name in ("shape", "dtype", "__getitem__"))
    return named and not hasattr(item, "columns")


def length(items):
    """Return how many items there are; an array of zarr knows it by its shape alone."""
    return int(items.shape[0]) if hasattr(items, "shape") else len(items)


def n_dims(array):
    """Return the number of dimensions; nested tensors have no shape."""
    return array.dim() if is_tensor(array) else len(array.shape)


def to_numpy(array):
    """Return the array as numpy, from whatever device; a bfloat16 tensor becomes float32."""
    if not is_tensor(array):
        return np.asarray(array)
    array = array.detach().cpu()
    try:
        return array.numpy()
    except TypeError:  # numpy has no bfloat16
        return array.float().numpy()


def channels_last(shape, *, first_wins=False):
    """Whether a three-dimensional picture has its channels at the end (True) or at the front (False)."""
    last, first = shape[-1] in CHANNELS, shape[0] in CHANNELS
    if not (last or first):
        raise ValueError(
            f"a picture with three dimensions must be (height, width, channels) or (channels, height, width) with 1, 3 "
            f"or 4 channels. Got shape {tuple(shape)} instead; select the channels to use, for instance image[..., :3]."
        )
    return last and not (first and first_wins)


def unusable(array):
    """Say in which form an array or tensor has no plain number everywhere, and what to pass; None where it has."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        return f"{np.ma.count_masked(array)} masked values instead; fill them, for instance array.filled(0)"
    if issparse(array):
        return "a sparse matrix instead; pass array.toarray()"
    if not is_tensor(array):
        return None
    if array.is_nested:
        return "a nested tensor instead; pass list(tensor.unbind())"
    if str(array.layout) != "torch.strided":
        return "a sparse tensor instead; pass tensor.to_dense()"
    if array.is_quantized:
        return "a quantised tensor instead; pass tensor.dequantize()"
    if array.device.type == "meta":
        return "a tensor on the device 'meta' instead, which has none; move the data there again"
    return None


def canonical(item):
    """Return the array as (H, W, C), C in 1, 3, 4, with its values and dtype untouched."""
    found = unusable(item)
    if found:
        raise ImageReadError(f"an image must have a number at each place. Got {found}.")
    array = to_numpy(item)
    if array.dtype.kind not in "buif":
        raise ImageReadError(
            f"pixels must be booleans, integers or floats. Got dtype {array.dtype} instead; convert with .astype."
        )
    if array.ndim not in (2, 3):
        raise ImageReadError(
            f"an image must have two dimensions (height, width) or three (with channels). "
            f"Got shape {array.shape} instead."
        )
    if array.size == 0:
        raise ImageReadError(f"the image must have pixels. Got shape {array.shape} instead.")
    if array.ndim == 2:
        return array[..., None]
    try:
        last = channels_last(array.shape, first_wins=is_tensor(item))
    except ValueError as error:
        raise ImageReadError(str(error)) from None
    return array if last else array.transpose(1, 2, 0)


def has_own_range(dtype):
    """Whether the dtype says what black and white are: bool, uint8, uint16. All others need a value range."""
    return dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2)


def value_limits(pixels):
    """Smallest and largest value of an array, as floats."""
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite([low, high]).all():
        raise ImageReadError("pixels must be finite. Got NaN or infinity instead; replace or drop the image.")
    return low, high


def array_to_picture(pixels, value_range=None):
    """Turn canonical pixels into a fresh picture (H, W, 3)."""
    if value_range is None and has_own_range(pixels.dtype):
        pixels = _eight_bit(pixels)
    else:
        pixels = _scaled(pixels, value_range)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 4:
        return _on_white(pixels)
    return np.array(pixels, order="C")


def _eight_bit(pixels):
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.itemsize == 2:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 257 is odd: no ties
    return pixels


def _scaled(pixels, value_range):
    with np.errstate(all="ignore"):
        if value_range is not None:
            low, high = value_range
            pixels = (pixels.astype(np.float64) - low) / ((high - low) or 1.0)  # a constant picture has no width
        pixels = pixels.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise ImageReadError(
            "pixels must be finite and fit float32. Got NaN, infinity or a larger value instead; "
            "replace or drop the image."
        )
    return pixels


def _on_white(pixels):
    """Lay a picture with opacity over a white page."""
    colour, opacity = pixels[..., :3], pixels[..., 3:]
    if pixels.dtype == np.uint8:
        colour, opacity = colour.astype(np.uint16), opacity.astype(np.uint16)
        return ((colour * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return colour * opacity + (1 - opacity)
