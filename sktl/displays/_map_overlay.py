"""Maps over pictures: what spoke for a class, or where an image is abnormal."""

import numpy as np
from PIL import Image

from sktl.displays._class_activation import class_activation_map
from sktl.images import take_rows

__all__ = ["overlaid", "overlays"]

_COLOUR = (213, 94, 0)  # the vermilion of Okabe and Ito
_OPACITY = 0.7  # where a map is greatest: the picture is still to be seen


def overlays(estimator, X, images, indices, labels, pictures):
    """Lay over the pictures of some images of X what spoke for a label each."""
    if not indices:
        return []
    maps = class_activation_map(estimator, take_rows(X, indices), labels)
    _, network = getattr(estimator, "steps", [("", estimator)])[0]
    parts = [network._preprocessing().seen_part(images[index]) for index in indices]
    return [overlaid(*each) for each in zip(pictures, maps, parts, strict=True)]


def overlaid(picture, values, part, highest=None):
    """Colour a picture where a map of the part of it that the network sees is above zero; most at the highest value."""
    highest = values.max() if highest is None else highest
    height, width = picture.shape[:2]
    top, bottom, left, right = np.rint(np.multiply(part, (height, height, width, width))).astype(int).tolist()
    strength = np.clip(values, 0, None) / (max(highest, 0) or 1)
    seen = Image.fromarray(strength.astype(np.float32)).resize((max(right - left, 1), max(bottom - top, 1)), 2)
    whole = Image.new("F", (width, height))
    whole.paste(seen, (left, top))
    opacity = _OPACITY * np.clip(np.asarray(whole), 0, 1)[..., None]
    return np.rint((1 - opacity) * picture + opacity * np.array(_COLOUR)).astype(np.uint8)
