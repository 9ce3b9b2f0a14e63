"""How all displays look: colours, shapes, text as it is written, and the axes that are drawn into."""

import numpy as np

from sktl._optional import import_optional
from sktl._text import as_written

__all__ = [
    "BAND",
    "BLUE",
    "GREY",
    "HALO",
    "INK",
    "MARKERS",
    "ORANGE",
    "PALETTE",
    "axes_for",
    "greater_is_better",
    "label",
    "lifts_of",
    "light_spines",
    "pair_of_axes",
    "stacked",
    "tile",
]

# Okabe and Ito's colours, told apart by people with any kind of colour vision; shapes differ too. Their yellow is left
# out for a grey: it cannot be seen on white.
BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#999999", "#222222"
PALETTE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK, "#7F7F7F")
MARKERS = "osD^vP*Xph<>d8H"
BAND = "#DDDDDD"
LINE_HEIGHT, LETTER_WIDTH = 13, 6.5  # points that a text takes
HALO = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}


def axes_for(ax, caller, figsize):
    """Take the Axes that the user passed, or make a figure with one."""
    pyplot = import_optional("matplotlib.pyplot", extra="plot", caller=caller)
    return pyplot.subplots(figsize=figsize, layout="constrained")[1] if ax is None else ax


def tile(ax, number, columns, rows, *, height):
    """Return the place of one picture in Axes divided into rows of them; the text below it gets the rest of the row."""
    row, column = divmod(number, columns)
    place = [(column + 0.04) / columns, 1 - (row + 0.04 + height) / rows, 0.92 / columns, height / rows]
    return ax.inset_axes(place)


def pair_of_axes(ax, caller, figsize, *, share, ratios):
    """Take the pair of Axes that the user passed, divide the single one, or make a figure with a pair side by side."""
    pyplot = import_optional("matplotlib.pyplot", extra="plot", caller=caller)
    if ax is None:
        options = {"figsize": figsize, "width_ratios": ratios, "layout": "constrained"}
        _, ax = pyplot.subplots(1, 2, sharex=share == "x", sharey=share == "y", **options)
    elif not np.iterable(ax):
        ax.set_axis_off()
        gap = 0.04 if share == "y" else 0.16  # room for the scale of the right one
        width = (1 - gap) * ratios[0] / sum(ratios)
        left = ax.inset_axes([0, 0, width, 1])
        ax = [left, ax.inset_axes([width + gap, 0, 1 - gap - width, 1], **{f"share{share}": left})]
    axes = np.asarray(ax, dtype=object)
    if axes.shape != (2,):
        raise ValueError(f"ax must be one Axes or a pair. Got {axes.size} instead.")
    return axes


def light_spines(*axes):
    """Take away the frame at the top and at the right, which carries nothing."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def greater_is_better(scoring):
    """Write the label of an axis of scores."""
    return f"{as_written(scoring)} (greater is better)"


def label(ax, text, place, offset, *, color=INK, **options):
    """Write a text so many points beside a place, readable on whatever is drawn there."""
    ax.annotate(text, place, offset, textcoords="offset points", color=color, bbox=HALO, **options)


def stacked(values, near):
    """Count how far up or down each point goes so that those of about one value stand on each other, not in one."""
    _, places, counts = np.unique(np.round(values / near), return_inverse=True, return_counts=True)
    first = np.argsort(places, kind="stable")
    within = np.empty(len(places))
    within[first] = np.concatenate([np.arange(count) - (count - 1) / 2 for count in counts])
    return within


def lifts_of(ax, places, texts):
    """Find out how far texts must go up so that none lies on another one."""
    points = ax.transData.transform(np.asarray(places, dtype=float)) * 72 / ax.figure.dpi
    widths = [LETTER_WIDTH * len(text) for text in texts]
    lifts = np.zeros(len(texts))
    done: list[int] = []
    for one in np.argsort(points[:, 1], kind="stable"):
        for other in done:
            is_beside = abs(points[one][0] - points[other][0]) > (widths[one] + widths[other]) / 2
            gap = points[one][1] + lifts[one] - points[other][1] - lifts[other]
            if not is_beside and gap < LINE_HEIGHT:
                lifts[one] += LINE_HEIGHT - gap
        done.append(one)
    return lifts
