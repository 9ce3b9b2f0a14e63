"""Augmented views of images, each a pure function of the image and the number of the view.

View 0 of an image is the image as the network sees it in prediction; views 1, 2, … are augmented. A view is the same
bits in every order, thread and process, so that what a network makes of it can be stored.
"""

from dataclasses import replace
from enum import Enum
from functools import partial
from hashlib import sha256
from threading import Condition

import numpy as np
import torch

from sktl._validation import did_you_mean
from sktl.backbones.seeding import GLOBAL_RNG_LOCK
from sktl.training._picture_transforms import augmented, transformed

AUGMENTATIONS = ("light", "unmirrored", "trivial")

# To be raised when the same view gives other bits from now on.
_VERSION = 1
_MIRROR = "mirror"  # what `mirrored` does; no name for users
_BARE_MODULE = frozenset(vars(torch.nn.Module()))


def check_augment(augment, names=AUGMENTATIONS):
    """Raise ValueError unless `augment` is None, one of the names, or a callable."""
    named = isinstance(augment, str) and augment in names
    if augment is None or named or (callable(augment) and not isinstance(augment, type)):
        return
    hint = did_you_mean(augment, names)
    if isinstance(augment, str) and augment == "auto":
        hint = " A fitted estimator says in augment_ what 'auto' chose."
    raise ValueError(
        f"augment must be None, one of {list(names)}, or a callable such as an instance of a torchvision transform. "
        f"Got {augment!r} instead.{hint}"
    )


def can_be_stored(augment):
    """Whether what an augmentation does is known well enough to be found again in another process.

    True for None, for names, and for transforms of torchvision that hold nothing but numbers, texts and further such
    transforms. The code of any other callable may change while its name stays.
    """
    try:
        _description(augment)
    except TypeError:
        return False
    return True


def prepared_already(preprocessing):
    """Return the preprocessing whose `prepare` leaves the pictures of `AugmentedImages` as they are, bit for bit."""
    return replace(preprocessing, resize_size=preprocessing.crop_size)


def mirrored(images, preprocessing):
    """Return the prepared images with left and right exchanged, to be used with `prepared_already`."""
    return AugmentedImages(images, preprocessing, _MIRROR, 1)


class AugmentedImages:
    """Views of images, prepared for a network: what `embed` needs of an ImageCollection.

    Notes
    -----
    A callable draws from the global generators of torch, numpy and Python, which are seeded for each image and then put
    back. So the thread that makes this collection inside of `seeded` lends the generators: it draws nothing itself
    while the images are read, in whatever threads. Made outside of `seeded`, the readers wait for whoever is inside; so
    do not then read it from inside.
    """

    def __init__(self, images, preprocessing, augment, view):
        self._images = images
        self._preprocessing = preprocessing
        self._augment = augment
        views = np.asarray(view)
        if views.dtype.kind not in "iu" or (views < 0).any():
            raise ValueError(f"view must be whole numbers from 0, one for all images or one for each. Got {view!r}.")
        self._views = np.broadcast_to(views, len(images))
        try:
            self._kind = _description(augment)
        except TypeError:
            # Told apart while they live, and in this process only: hence `can_be_stored`.
            self._kind = f"{type(augment).__module__}.{type(augment).__qualname__} {id(augment)}"
        self._lent = _holds(GLOBAL_RNG_LOCK)

    def __repr__(self):
        return f"AugmentedImages({len(self)} images)"

    def __len__(self):
        return len(self._images)

    def __getitem__(self, i):
        """Make view i: (crop_size, crop_size, 3), uint8, or float32 where the image or the transform is of floats."""
        return self.open(i).picture()

    def open(self, i):
        """Read the bytes of image i, and decode nothing yet; an image that cannot be read is an ImageReadError."""
        return _OpenedView(self, self._images.open(i), i)

    def subset(self, indices):
        """Return some of the views, in the order asked for, as `ImageCollection.subset` does."""
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices if indices.dtype == np.bool_ else indices.astype(np.intp)
        images = self._images.subset(indices)
        return AugmentedImages(images, self._preprocessing, self._augment, self._views[indices])

    def describe(self, i):
        """Name image i for a message."""
        return self._images.describe(i)

    def _digest(self, source, i):
        view = int(self._views[i])
        kind = "None" if view == 0 else self._kind
        view = 0 if kind == "None" else view
        content = repr((_VERSION, source, self._preprocessing, kind, view))
        return sha256(b"view " + content.encode()).digest()[:16]

    def _picture(self, image, i):
        view = int(self._views[i])
        picture = image.picture()
        if view == 0 or self._augment is None:
            return self._prepared(picture)
        if self._augment == _MIRROR:
            return self._prepared(picture)[:, ::-1]
        seeds = np.random.SeedSequence([int.from_bytes(image.digest(), "little"), view])
        if not callable(self._augment):
            return augmented(picture, self._preprocessing, self._augment, seeds)
        name = partial(self.describe, i)
        return self._prepared(transformed(picture, self._augment, seeds, lent=self._lent, name=name))

    def _prepared(self, picture):
        return self._preprocessing.prepare(picture).transpose(1, 2, 0)


class _OpenedView:
    """One image between reading and augmenting: digest and picture come from the same bytes, as with OpenedImage."""

    __slots__ = ("_i", "_image", "_views")

    def __init__(self, views, image, i):
        self._views = views
        self._image = image
        self._i = i

    def digest(self):
        """Identify the view in 16 bytes, by the image's content, the preprocessing, the augmentation and the number."""
        return self._views._digest(self._image.digest(), self._i)

    def picture(self):
        """Return the prepared picture."""
        return self._views._picture(self._image, self._i)


def _description(value):
    """Return a text that is equal in all processes, and differs where the augmentation does; TypeError if unsure."""
    if value is None or isinstance(value, (bool, int, float, str, Enum, torch.dtype)):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {value.tolist()}"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_description(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_description(key)}: {_description(item)}' for key, item in value.items())}}}"
    if isinstance(value, torch.nn.Module) and type(value).__module__.startswith("torchvision.transforms."):
        # Not its repr, which leaves out tensors, functions and hooks.
        own = {name: item for name, item in vars(value).items() if name not in _BARE_MODULE or item}
        return _description(type(value)) + _description(own)
    raise TypeError(f"nobody knows what {type(value).__name__} does")


def _holds(lock):
    """Whether this thread holds a lock: what a condition asks before it notifies."""
    try:
        Condition(lock).notify()
    except RuntimeError:
        return False
    return True
