"""Groups that nobody stated: what folders, names and dates of files say of images that belong together.

A name that all images of a class share says nothing, and neither does a number that counts all images. What says
something is a beginning that a few files share, in many ways: p012_1.jpg and p012_2.jpg, p013_1.jpg and p013_2.jpg.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from sktl._targets import has_fractions
from sktl._validation import StrOptions, validate_params
from sktl.images.files import files_in
from sktl.images.folders import is_part
from sktl.images.taken import taken_at

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


__all__ = ["SOURCES", "Suggestion", "find_suggestion", "suggested_groups"]

FEWEST = 5  # groups: fewer cannot be told from parts of a data set, and not be shared out to five folds
SAMPLE, RUN = 400, 20  # files whose dates are looked at, and how many of them in a row
DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.: ]?(0[1-9]|1[0-2])[-_.: ]?([0-2]\d|3[01])(?!\d)")
BETWEEN = re.compile(r"[-_.\s()]+")
# What may follow the name of a group: 1, 012, b, img3, left, WA0001, or the time of a day; no hash, no serial number.
COUNTER = re.compile(r"[A-Za-z]{1,12}\d{0,6}[A-Za-z]?|\d{1,5}[A-Za-z]?|\d{6}|\d{9}")
MOST_COUNTERS = 3
OF_A_CLASS = re.compile(r"n\d{8}")  # what WordNet calls a kind of thing; ImageNet begins its names with that


@dataclass(frozen=True)
class Suggestion:
    """What the groups come from, the number of the group of each image looked at, and what was found in words."""

    by: str
    groups: np.ndarray
    words: str


@validate_params(
    {"by": [StrOptions({"auto", "folder", "name", "date"})]},
    prefer_skip_nested_validation=True,
)
def suggested_groups(
    X: Any, y: ArrayLike | None, *, by: Literal["auto", "folder", "name", "date"] = "auto"
) -> NDArray[Any] | None:
    """Guess from folders, names and dates of image files which images belong together.

    Several photos of one patient, animal or scene on both sides of a split make every score too good. Where such groups
    are known, pass what is known. This looks for what the files tell:

    - ``"folder"``: folders below those of the classes, or folders of a few images each where the classes come from
      elsewhere: ``ants/nest3/1.jpg``.
    - ``"name"``: a beginning with a number in it that a few files share, before a short counter: ``p012_1.jpg``,
      ``p012_2.jpg``; ``20261129_184255.jpg`` is of the same day as ``20261129_190312.jpg``.
    - ``"date"``: photos that the same camera took on the same day, or within the same minute where all are of a few
      days, by their EXIF data.

    Parameters
    ----------
    X : sequence of paths of length n_images
        Image files; other images have no names.
    y : array-like of shape (n_images,) or None
        Class labels, so that what only tells the classes apart is not taken for groups; numbers, or None, where there
        are no classes.
    by : {"auto", "folder", "name", "date"}, default="auto"
        What to go by; "auto" takes the first that suggests groups.

    Returns
    -------
    ndarray of shape (n_images,), int, or None
        Numbers from 0, the same within a group; an image that belongs to none has one of its own. None with "auto"
        where nothing suggests groups.

    Raises
    ------
    ValueError
        If what `by` names suggests no groups, or lengths differ.

    See Also
    --------
    near_duplicate_groups : Groups of copies of one picture.

    Notes
    -----
    At least half of the images must share a group with others, and there must be at least five such groups, twice as
    many as classes, and two or more in most classes. The names `IMG_0001.jpg` and `cat_001.jpg` suggest nothing.

    Examples
    --------
    >>> from sktl.near_duplicates import suggested_groups
    >>> files = [f"p{patient:03}_{view}.png" for patient in range(5) for view in "ab"]
    >>> suggested_groups(files, ["ill", "well"] * 5).tolist()
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    >>> print(suggested_groups([f"IMG_{number:04}.jpg" for number in range(10)], ["ill", "well"] * 5))
    None
    """
    check_consistent_length(X, y)
    found = find_suggestion(X, y, sources=tuple(SOURCES) if by == "auto" else (by,), most_dates=None)
    if found is None and by != "auto":
        raise ValueError(
            f"by must name what tells the groups. Got {by!r} instead, which suggests none for these {len(X):,} images. "
            "Pass groups of your own."
        )
    return None if found is None else found.groups


def find_suggestion(X, y, *, sources=("folder", "name", "date"), most_dates=SAMPLE):
    """Find the first source that suggests groups; dates of at most so many files are looked at. None without one."""
    paths, classes = list(files_in(X)), _classes(y, len(X))
    if len(paths) != len(X) or len(paths) < 2 * FEWEST:
        return None
    for by in sources:
        places = _sample(paths, most_dates if by == "date" else None)
        looked_at = [paths[place] for place in places]
        for keys in SOURCES[by](looked_at, classes[places]):
            groups = _numbered(keys)
            if _are_groups(groups, classes[places]):
                return Suggestion(by, groups, _words(by, keys, groups, looked_at))
    return None


def _classes(y, n_images):
    """Return the number of the class of each image; one class where there is none."""
    if y is None:
        return np.zeros(n_images, dtype=int)
    y = column_or_1d(y)
    if y.dtype.kind == "f" and has_fractions(y):
        return np.zeros(n_images, dtype=int)
    return np.unique(y, return_inverse=True)[1]


def _numbered(keys):
    """Give the keys numbers in the order in which they appear; an image without a key is alone."""
    seen: dict = {}
    return np.array([seen.setdefault((i,) if key is None else (key,), len(seen)) for i, key in enumerate(keys)])


def _are_groups(groups, classes):
    """Whether most images share a group with others, and the groups are neither a few parts nor the classes."""
    counts = np.bincount(groups)
    shared = counts[groups] > 1
    if shared.mean() < 0.5 or (counts > 1).sum() < FEWEST:
        return False
    n_in_class = [len(np.unique(groups[shared & (classes == label)])) for label in np.unique(classes[shared])]
    return bool(np.median(n_in_class) >= 2 and (counts > 1).sum() >= 2 * len(n_in_class))


def _by_folder(paths, classes):
    """Yield folders as keys, the upper ones first."""
    above = [os.path.dirname(os.path.abspath(path)) for path in paths]
    try:
        root = os.path.commonpath(above)
    except ValueError:  # on several drives
        return
    parts = [[] if folder == root else os.path.relpath(folder, root).split(os.sep) for folder in above]
    for depth in range(1, max(map(len, parts)) + 1):
        keys = [tuple(part[:depth]) if len(part) >= depth else None for part in parts]
        names = [key[-1] if key else "" for key in keys]
        is_class = len(set(zip(names, classes.tolist(), strict=True))) == len(set(names)) == len(np.unique(classes))
        if not is_class and not all(is_part(name) for name in set(names)):
            yield keys


def _by_name(paths, _):
    """Yield beginnings of the names as keys, the shorter ones first."""
    names = [DATE.sub(r"\1\2\3", os.path.splitext(os.path.basename(path))[0]) for path in paths]
    names = [re.sub(r"(?<=\d)([A-Za-z])$", r"_\1", name) for name in names]  # p012a
    tokens = [[token for token in BETWEEN.split(name) if token] for name in names]
    for length in range(1, max(map(len, tokens))):
        yield [_beginning(name, length) for name in tokens]


def _beginning(tokens, length):
    """Return the first tokens of a name where they may be those of a group, else None."""
    first, rest = tokens[:length], tokens[length:]
    named = any(letter.isdigit() for letter in "".join(first)) and not OF_A_CLASS.fullmatch(first[-1])
    return tuple(first) if named and 1 <= len(rest) <= MOST_COUNTERS and all(map(COUNTER.fullmatch, rest)) else None


def _by_date(paths, _):
    """Yield camera and day, and then camera and minute, as keys."""
    taken = [taken_at(path) for path in paths]
    yield [one and (one[0], one[1][:10]) for one in taken]
    yield taken


SOURCES = {"folder": _by_folder, "name": _by_name, "date": _by_date}


def _sample(paths, most):
    """Choose so many files, in runs of neighbours by name, which may have been taken one after the other."""
    if most is None or len(paths) <= most:
        return np.arange(len(paths))
    order = np.argsort(np.array(paths, dtype=object), kind="stable")
    starts = np.linspace(0, len(paths) - RUN, most // RUN).astype(int)
    return np.sort(order[np.unique(starts[:, None] + np.arange(RUN))])


def _words(by, keys, groups, paths):
    """Say what was found, with the first two images that share a group."""
    counts = np.bincount(groups)
    n_shared, first_group = int(counts[counts > 1].sum()), groups[np.argmax(counts[groups] > 1)]
    first, second = np.flatnonzero(groups == first_group)[:2]
    if by == "folder":
        return f"{n_shared:,} images lie in {(counts > 1).sum():,} folders such as {os.path.join(*keys[first])!r}"
    what = "share the beginning of their name with others"
    if by == "date":
        same = "on the same day" if keys[first] and len(keys[first][1]) == 10 else "in the same minute"
        what = f"were taken by one camera {same} as others"
    one, other = (os.path.basename(paths[place]) for place in (first, second))
    return f"{n_shared:,} of {len(paths):,} files {what}, {one!r} and {other!r} for instance"
