"""Near copies of one picture among the images that were compared on: which they are, and what they spoil."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from sktl._targets import class_names
from sktl.displays.thumbnails import images_compared, thumbnail
from sktl.reports._figures import as_data_uri
from sktl.reports._html_page import paragraph, tiles

__all__ = ["near_copies", "said_of_copies", "shown_copies", "where"]

MOST_GROUPS, MOST_COPIES = 10, 4  # shown; the rest is counted


@dataclass(frozen=True)
class Copies:
    """Images that are one picture."""

    images: tuple[int, ...]  # positions in X
    files: tuple[str, ...]  # paths where there are some
    labels: tuple[str, ...]  # names of the classes; empty for regression
    tested: tuple[tuple[int, ...], ...]  # for each, the splits that tested it, from 1
    across: tuple[int, ...]  # the splits, from 1, that have copies on both sides

    @property
    def labels_differ(self):
        """Whether one picture has several classes."""
        return len(set(self.labels)) > 1


def near_copies(comparison: Any, target_names: Any = None) -> Any:
    """List the groups of near copies: those with different labels first, then those on both sides of most splits."""
    found = comparison.settings.get("near_copies", [])
    is_regression = comparison.settings.get("task") == "regression"
    names = {} if is_regression else class_names(comparison.y, target_names)
    groups = [_copies(comparison, group, names) for group in found]
    return sorted(groups, key=lambda group: (not group.labels_differ, -len(group.across)))


def _copies(comparison, copies, names):
    group = [copy["image"] for copy in copies]
    in_test = np.array([np.isin(group, test) for _, test in comparison.splits])
    in_train = np.array([np.isin(group, train) for train, _ in comparison.splits])
    return Copies(
        tuple(group),
        tuple(copy["file"] or f"X[{copy['image']}]" for copy in copies),
        tuple(names[label] for label in np.asarray(comparison.y)[group].tolist()) if names else (),
        tuple(tuple((1 + np.flatnonzero(column)).tolist()) for column in in_test.T),
        tuple((1 + np.flatnonzero(in_test.any(axis=1) & in_train.any(axis=1))).tolist()),
    )


def said_of_copies(groups: Any) -> Any:
    """Say how many near copies there are, and what follows."""
    n_images, n_across = sum(len(group.images) for group in groups), sum(bool(group.across) for group in groups)
    n_differ = sum(group.labels_differ for group in groups)
    verb = "is" if len(groups) == 1 else "are"
    said = f"{_counted(len(groups), 'picture')} {verb} there more than once, as {n_images:,} near copies."
    if n_across:
        verb = "is" if n_across == 1 else "are"
        said += f" {n_across:,} of them {verb} on both sides of a split, which flatters every candidate."
    if n_differ:
        verb = "has" if n_differ == 1 else "have"
        said += f" {n_differ:,} of them {verb} different labels, which cannot all be right."
    return said


def _counted(number, one):
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def where(group: Any, place: Any) -> Any:
    """Say of one copy its class, and the splits that tested it."""
    splits = ", ".join(map(str, group.tested[place]))
    tested = f"tested in split {splits}" if splits else "never tested"
    return ", ".join([*group.labels[place : place + 1], tested])


def shown_copies(comparison, X, target_names):
    """Show near copies beside each other, with their files, classes and splits; without X in words alone."""
    groups = near_copies(comparison, target_names)
    if not groups:
        return []
    parts = [paragraph(said_of_copies(groups))]
    images = None if X is None else images_compared(X, comparison)
    for number, group in enumerate(groups[:MOST_GROUPS], start=1):
        parts.append(f"<h3>{escape(_heading(number, group))}</h3>")
        lines = [[group.files[place], where(group, place)] for place in range(len(group.images))][:MOST_COPIES]
        if images is None:
            parts += [paragraph(": ".join(line), small=True) for line in lines]
        else:
            parts.append(tiles([_tile(images, group, place, line) for place, line in enumerate(lines)]))
        if (left := len(group.images) - MOST_COPIES) > 0:
            parts.append(paragraph(f"And {left:,} more.", small=True))
    if len(groups) > MOST_GROUPS:
        parts.append(paragraph(f"And {_counted(len(groups) - MOST_GROUPS, 'more picture')} with copies.", small=True))
    return parts


def _heading(number, group):
    said = ["different labels"] if group.labels_differ else []
    splits = ", ".join(map(str, group.across[:MOST_COPIES])) + (", …" if len(group.across) > MOST_COPIES else "")
    word = "split" if len(group.across) == 1 else "splits"
    said += [f"on both sides of {word} {splits}"] if group.across else ["on one side of every split"]
    return f"{number}. {', '.join(said).capitalize()}"


def _tile(images, group, place, lines):
    index = group.images[place]
    uri, small = as_data_uri(thumbnail(images[index]))
    return uri, small, f"Image {index}, one of {len(group.images)} near copies", lines
