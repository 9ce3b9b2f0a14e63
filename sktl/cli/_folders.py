"""Which images a command works on: a folder with one folder per class, or files and folders of any kind."""

import csv
import os
from pathlib import Path

from sktl._text import enumerated, printable
from sktl.cli._places import keep_from_outputs
from sktl.cli._reporting import say

__all__ = ["GROUPS_BY", "find_images", "load_classes", "read_groups", "say_classes", "say_counts"]

GROUPS_BY = ("folder", "name", "date")  # what may tell groups, besides a file
_MOST_CLASSES = 20  # that are listed


def load_classes(folder, max_images, seed, *, verb, listed=False):
    """List the images of a folder that holds one folder per class."""
    from sktl._splits import stratified_subset
    from sktl.images import load_image_folder

    bunch = load_image_folder(folder)
    keep_from_outputs(bunch.images)
    names = bunch.target_names
    if len(names) < 2:
        raise ValueError(
            f"path must have at least two folders, one per class. Got {str(folder)!r} with {names[0]!r} alone instead. "
            f"If the classes are the folders in it, pass {str(Path(folder, names[0]))!r}."
        )
    chosen = stratified_subset(bunch.target, max_images, seed)
    say(
        f"{verb} {len(chosen)} of {len(bunch.target)} images in {len(names)} classes.{_left_out(bunch.ignored, listed)}"
    )
    target = bunch.target[chosen]
    say_classes(target, names)
    return bunch.images[chosen], target, names


def say_classes(target, names):
    """Say how many images each class has, before anything is learnt."""
    import numpy as np

    say_counts(dict(zip(names, np.bincount(target, minlength=len(names)).tolist(), strict=True)))


def say_counts(counts):
    """Say so of counts by name."""
    listed = [f"{printable(name)} {count}" for name, count in list(counts.items())[:_MOST_CLASSES]]
    more = f", and {len(counts) - _MOST_CLASSES} more" if len(counts) > _MOST_CLASSES else ""
    say(f"Images per class: {', '.join(listed)}{more}.")


def _left_out(paths, listed):
    """Say how many files are left out; one by one where that is wanted."""
    for path in paths if listed else ():
        say(f"Left out: {printable(path)}")
    if not paths:
        return ""
    return f" Left out: {len(paths)} other file(s) or link(s)" + ("." if listed else "; --verbose lists them.")


def find_images(paths, *, listed=False):
    """List files as they are named, and the images in folders, sorted, at any depth.

    Folders that are hidden or made by the system, links to folders, hidden files, and files without an image's ending
    are left out of folders; the latter are counted.
    """
    images, labels = [], []
    for path in map(Path, paths):  # typer before 0.29 leaves them as they were written
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(f"IMAGES must be files or folders. Found nothing at {str(path)!r} instead.")
            images.append(str(path))
            labels.append(None)
            continue
        found = _images_below(path, listed)
        images += [str(file) for file in found]
        parts = [file.relative_to(path).parts for file in found]
        labels += [part[0] if len(part) > 1 else None for part in parts]
    keep_from_outputs(images)
    return images, labels


def _images_below(folder, listed):
    from sktl.images.folders import is_left_out
    from sktl.images.formats import EXTENSIONS

    found, others, nobodys = [], [], []
    for parent, folders, files in os.walk(folder):
        nobodys += [Path(parent, name).relative_to(folder) for name in sorted(folders) if is_left_out(name)]
        folders[:] = sorted(name for name in folders if not is_left_out(name))
        for file in (Path(parent, name) for name in sorted(files) if not name.startswith(".")):
            (found if file.suffix.lower() in EXTENSIONS else others).append(file)
    if not found:
        raise ValueError(
            f"a folder must have images in it. Got {str(folder)!r} with {len(others)} other file(s) instead."
        )
    if nobodys:
        say(f"Left out in {printable(folder)}: {enumerated(map(str, nobodys))}, hidden or made by the system.")
    if others:
        say(f"In {printable(folder)}, files without an image's ending.{_left_out(others, listed)}")
    return found


def read_groups(file, folder, images, classes=None):
    """Read which images belong together, or go by what the folders, names or dates of the files suggest."""
    import numpy as np

    if str(file) in GROUPS_BY and not file.is_file():
        from sktl.near_duplicates import suggested_groups

        return suggested_groups(images, classes, by=str(file))
    if not file.is_file():
        raise FileNotFoundError(
            f"--groups must be a CSV file, or one of {', '.join(GROUPS_BY)}. Found no file at {str(file)!r} instead."
        )
    group_of = dict(_groups_in(file, folder))
    groups = [group_of.get(os.path.abspath(image)) for image in images]
    missing = [image for image, group in zip(images, groups, strict=True) if not group]
    if missing:
        raise ValueError(
            f"--groups must give every image a group. Got none for {len(missing)} of {len(images)} instead, "
            f"{missing[0]!r} for instance: paths start at {str(folder)!r}."
        )
    return np.array(groups)


def _groups_in(file, folder):
    """Yield pairs of an absolute path and a group."""
    with open(file, newline="", encoding="utf-8-sig") as opened:
        reader = csv.DictReader(opened)
        try:
            columns = reader.fieldnames
            if not {"path", "group"} <= set(columns or ()):
                raise ValueError(f"--groups must have the columns path and group. Got {columns} instead.")
            for row in reader:
                if row["path"] is None:
                    raise ValueError(
                        f"--groups must give a path in every line. Got none in line {reader.line_num} of {str(file)!r} "
                        "instead, which is shorter than the first."
                    )
                yield os.path.abspath(folder / row["path"]), row["group"]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"--groups must be a CSV file in UTF-8. {str(file)!r} cannot be read as one, after line "
                f"{reader.line_num}: {error}."
            ) from error
