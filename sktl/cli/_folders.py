"""Which images a command works on: a folder with one folder per class, or files and folders of any kind."""

import csv
import os
from pathlib import Path

from sktl._text import printable
from sktl.cli._places import keep_from_outputs
from sktl.cli._reporting import say

__all__ = ["find_images", "load_classes", "read_groups"]


def load_classes(folder, max_images, seed, *, verb):
    """List the images of a folder that holds one folder per class."""
    from sktl._splits import stratified_subset
    from sktl.images import load_image_folder

    bunch = load_image_folder(folder)
    keep_from_outputs(bunch.images)
    names = bunch.target_names
    if len(names) < 2:
        raise ValueError(
            f"path must have at least two folders, one per class. Got {str(folder)!r} with {names[0]!r} alone instead."
        )
    chosen = stratified_subset(bunch.target, max_images, seed)
    left_out = bunch.n_ignored_files + bunch.n_ignored_links
    ignored = f" Left out: {left_out} other file(s) or link(s)." if left_out else ""
    say(f"{verb} {len(chosen)} of {len(bunch.target)} images in {len(names)} classes.{ignored}")
    return bunch.images[chosen], bunch.target[chosen], names


def find_images(paths):
    """List files as they are named, and the images in folders, sorted, at any depth.

    Hidden files, links to folders, and files without an image's ending are left out of folders; the latter are counted.
    """
    images, labels = [], []
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(f"IMAGES must be files or folders. Found nothing at {str(path)!r} instead.")
            images.append(str(path))
            labels.append(None)
            continue
        found = _images_below(path)
        images += [str(file) for file in found]
        parts = [file.relative_to(path).parts for file in found]
        labels += [part[0] if len(part) > 1 else None for part in parts]
    keep_from_outputs(images)
    return images, labels


def _images_below(folder):
    from sktl.images.formats import EXTENSIONS

    found, n_others = [], 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = sorted(name for name in files if not name.startswith("."))
        taken = [Path(parent, name) for name in shown if Path(name).suffix.lower() in EXTENSIONS]
        found += taken
        n_others += len(shown) - len(taken)
    if not found:
        raise ValueError(f"a folder must have images in it. Got {str(folder)!r} with {n_others} other file(s) instead.")
    if n_others:
        say(f"Left out in {printable(folder)}: {n_others} file(s) without an image's ending.")
    return found


def read_groups(file, folder, images):
    """Read which images belong together."""
    import numpy as np

    if not file.is_file():
        raise FileNotFoundError(f"--groups must be a CSV file. Found none at {str(file)!r} instead.")
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
