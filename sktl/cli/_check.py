"""The command ``sktl check``: what is wrong with a folder of images, before anything is learnt from it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sktl._text import enumerated, printable
from sktl.cli._options import JobsOption, JsonOption, VerboseOption
from sktl.cli._reporting import bars_wanted, errors_as_messages, say

__all__ = ["check"]

_NO_FOLDER = "(no folder)"  # the class of images beside folders


def check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A folder of images, with one folder per class or without, or with such folders in train/ and test/.",
        ),
    ],
    n_jobs: JobsOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = True,
):
    """Look through a folder of images: files that cannot be read, near duplicates, empty classes, sizes and kinds.

    Ends with exit code 1 if there is something to mend, and with 0 otherwise. Nothing is changed or downloaded.
    """
    with errors_as_messages():
        images, classes, parts, empty, others = _listed(folder)
        say(f"Looking through {len(images):,} images.")
        from sktl.near_duplicates import inspect_images

        found = inspect_images(images, classes, parts=parts, n_jobs=n_jobs, verbose=bars_wanted(verbose))
        found = replace(found, empty_classes=tuple(sorted({*found.empty_classes, *empty})))
        if as_json:
            about = {"folder": str(folder), "is_clean": not found}
            print(json.dumps({**about, **found.to_dict(), "ignored": others}, indent=2))
        else:
            print(found)
            if others:
                print(f"Left out, being no images: {printable(enumerated(others))}")
        if found:
            raise typer.Exit(1)


def _listed(folder):
    """Return images, their classes and parts where there are some, empty classes, and what is left out."""
    from sktl.images.folders import entries, is_part

    if not folder.is_dir():
        raise NotADirectoryError(f"FOLDER must be a folder of images. Found none at {str(folder)!r} instead.")
    folders, _, _ = entries(folder)
    if folders and all(is_part(inner.name) for inner in folders):
        listed = [_listed_below(part, folder) for part in folders]
        parts = [part.name for part, (images, *_) in zip(folders, listed, strict=True) for _ in images]
    else:
        listed, parts = [_listed_below(folder, folder)], None
    images, classes, empty, others = ([one for each in every for one in each] for every in zip(*listed, strict=True))
    if not images:
        raise ValueError(f"FOLDER must have images in it. Got {str(folder)!r} with {len(others)} other files instead.")
    return images, (classes if set(classes) != {_NO_FOLDER} else None), parts, empty, others


def _listed_below(folder, root):
    """Return the images of a folder with their classes, classes without any, and other files and folders."""
    from sktl.images.folders import entries, search
    from sktl.images.formats import EXTENSIONS

    folders, files, left_out = entries(folder)
    images = [str(file) for file in files if file.suffix.lower() in EXTENSIONS]
    others = [str(file) for file in (*left_out, *files) if file.suffix.lower() not in EXTENSIONS]
    classes, empty = [_NO_FOLDER] * len(images), []
    for inner in folders:
        found = search(inner, root.resolve(), EXTENSIONS)
        images += map(str, found.images)
        others += map(str, [*found.left_out, *found.others])
        classes += [inner.name] * len(found.images)
        if not found.images:
            empty.append(str(inner.relative_to(root)))
    return images, classes, empty, others
