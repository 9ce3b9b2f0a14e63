"""A figure of augmented views beside the plain images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from sktl._optional import import_optional
from sktl.backbones import load_backbone
from sktl.images import check_images
from sktl.images.pixels import as_bytes
from sktl.images.value_range import fit_value_range
from sktl.training._views import AugmentedImages, check_augment

if TYPE_CHECKING:
    from collections.abc import Callable


_MAX_SHOWN = 8


def show_augmentation(
    X: Any,
    augment: Literal["light", "unmirrored", "trivial"] | Callable[..., Any] | None = "light",
    *,
    backbone: Any = "tiny_fractal",
    image_size: int | None = None,
    n_views: int = 5,
    ax: Any = None,
) -> Any:
    """Draw augmented views beside the plain images, as the network sees them.

    Look at it before training: whatever a person can no longer tell, a network cannot learn.

    Parameters
    ----------
    X : sequence or array
        Images as `FineTuneClassifier` takes them. The first 8 are drawn, a row each.
    augment : {"light", "unmirrored", "trivial"}, callable or None, default="light"
        "light" cuts out a random 35 to 100 % of the picture, mirrors every second one, and changes brightness and
        contrast by up to 20 %. "unmirrored" does the same without mirroring. "trivial" cuts and mirrors as "light" does
        and then applies one operation out of 14 [1]_. A callable, such as a transform of torchvision, turns a uint8
        tensor (3, height, width) into a tensor (3, new_height, new_width), of uint8 or of floats in [0, 1].
    backbone : str, path, Module, callable or Backbone, default="tiny_fractal"
        Network whose preprocessing is applied.
    image_size : int or None, default=None
        Side of the image in pixels; None is the network's own.
    n_views : int, default=5
        Number of augmented views.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    matplotlib Axes
        What was drawn into; its figure is ``ax.figure``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If `augment` is unknown, `n_views` is less than 1, or the images cannot be read.

    References
    ----------
    .. [1] S. Müller and F. Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021,
       arXiv:2103.10158.

    Examples
    --------
    >>> from sktl.datasets import make_fractals
    >>> from sktl.fine_tuning import show_augmentation
    >>> images, _ = make_fractals(3, n_classes=3, random_state=0)
    >>> ax = show_augmentation(images, "trivial", n_views=4)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['plain', 'view 1', 'view 2', 'view 3', 'view 4']
    """
    pyplot = import_optional("matplotlib.pyplot", extra="plot", caller="show_augmentation")
    check_augment(augment)
    if n_views < 1:
        raise ValueError(f"n_views must be at least 1. Got {n_views!r} instead.")
    images = check_images(BaseEstimator(), X, reset=True)
    images = images.with_value_range(fit_value_range(images), learned=True).subset(slice(_MAX_SHOWN))
    preprocessing = load_backbone(backbone).preprocessing
    preprocessing = preprocessing if image_size is None else preprocessing.resized(image_size)
    columns = [AugmentedImages(images, preprocessing, augment, view) for view in range(n_views + 1)]
    if ax is None:
        figsize = (1.5 * len(columns) + 0.6, 1.5 * len(images) + 0.6)
        _, ax = pyplot.subplots(figsize=figsize, layout="constrained")
    name = getattr(augment, "__name__", type(augment).__name__) if callable(augment) else augment
    _draw_tiles(ax, columns, preprocessing.crop_size)
    ax.set_title(f"augment={name!r}, {preprocessing.crop_size} × {preprocessing.crop_size} pixels", fontsize="medium")
    return ax


def _draw_tiles(ax, columns, size):
    step = size + max(2, size // 25)
    n_rows, n_columns = len(columns[0]), len(columns)
    sheet = np.full((n_rows * step, n_columns * step, 3), 255, dtype=np.uint8)
    for column, views in enumerate(columns):
        for row in range(n_rows):
            top, left = row * step, column * step
            sheet[top : top + size, left : left + size] = as_bytes(views[row])
    # The last gap is no part of the picture.
    ax.imshow(sheet[: size - step, : size - step])
    ax.set_xticks(np.arange(n_columns) * step + size / 2, ["plain", *(f"view {i}" for i in range(1, n_columns))])
    ax.set_yticks(np.arange(n_rows) * step + size / 2, [f"image {i}" for i in range(n_rows)])
    ax.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
