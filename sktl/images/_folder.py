"""A folder with one sub-folder per class → paths and targets."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sktl._text import enumerated
from sktl._validation import did_you_mean
from sktl.images.folders import PARTS, entries, is_part, search
from sktl.images.formats import EXTENSIONS


def load_image_folder(path: str | os.PathLike[str], *, extensions: Any = None) -> Any:
    """List the images of a folder that has one sub-folder per class; no image is read.

    Parameters
    ----------
    path : str or path-like
        The folder; ``~`` is your home. Each folder in it is a class and is searched to any depth. Hidden files and
        folders, and those that systems and archives make (``__MACOSX``, ``@eaDir`` and the like), are left out. Links
        to folders are not followed, and links to files only if the file lies inside `path`.
    extensions : iterable of str or None, default=None
        Endings of the files to take, for instance ``[".jpg", ".png"]``; upper or lower case does not matter. None:
        those of all formats that can be read. Other files are ignored, and counted.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With the attributes

        - images : ndarray of str objects, shape (n_images,). Paths, sorted by class and name: pass it as `X`.
        - target : ndarray of int, shape (n_images,). Position of the class in `target_names`.
        - target_names : list of str. Names of the sub-folders, sorted.
        - n_ignored_files : int. Other files, by their endings.
        - n_ignored_links : int. Links to folders, broken links, and links to files outside of `path`.
        - ignored : list of str. Paths of those files and links.
        - left_out : list of str. Paths of folders that are hidden, made by the system, or classes without an image.
        - DESCR : str. What was found, and how many files and links were ignored.

    Raises
    ------
    FileNotFoundError
        If nothing is at `path`.
    NotADirectoryError
        If `path` is not a folder.
    ValueError
        If there is no sub-folder that is not a link, if no class has an image, or if the sub-folders are parts of one
        data set, such as train and test, which each hold the classes.

    Warns
    -----
    UserWarning
        If folders are left out: it names them.

    See Also
    --------
    load_image_table : Images and labels from a table.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sktl.images import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("ants", "bees"):
    ...         Path(folder, name).mkdir()
    ...         Image.new("RGB", (8, 8)).save(Path(folder, name, "1.png"))
    ...     data = load_image_folder(folder)
    >>> data.target_names, data.target.tolist()
    (['ants', 'bees'], [0, 1])
    """
    root = Path(os.path.expanduser(path))
    _check_is_folder(root)
    extensions = EXTENSIONS if extensions is None else _checked_extensions(extensions)
    folders, strays, left_out = entries(root)
    if not folders:
        raise ValueError(_why_no_class(root, strays))
    found = {folder: search(folder, root.resolve(), extensions) for folder in folders}
    classes = [folder for folder in folders if found[folder].images]
    if not classes:
        raise ValueError(_why_no_image(found, extensions))
    _check_parts(root, {folder: found[folder].images for folder in classes})
    ignored = strays + [entry for folder in folders for entry in found[folder].others]
    left_out += [entry for folder in folders for entry in found[folder].left_out]
    empty = [folder for folder in folders if not found[folder].images]
    _warn_of(root, {folder: found[folder].others for folder in empty}, left_out)
    images = [str(image) for folder in classes for image in found[folder].images]
    n_links = sum(entry.is_symlink() for entry in ignored)
    return Bunch(
        images=np.array(images, dtype=object),
        target=np.repeat(np.arange(len(classes), dtype=np.intp), [len(found[folder].images) for folder in classes]),
        target_names=[folder.name for folder in classes],
        n_ignored_files=len(ignored) - n_links,
        n_ignored_links=n_links,
        ignored=list(map(str, ignored)),
        left_out=list(map(str, empty + left_out)),
        DESCR=(
            f"{len(images)} images of {len(classes)} classes in {root}; {len(ignored) - n_links} other files and "
            f"{n_links} links ignored{_links_in(ignored, ' ({})')}."
        ),
    )


def _check_is_folder(root):
    if root.is_dir():
        return
    rule = f"path must be a folder with one folder per class. Got {str(root)!r} instead"
    if root.exists():
        raise NotADirectoryError(f"{rule}, which is a file. Pass the folder that holds the folders of the classes.")
    beside = os.listdir(root.absolute().parent) if root.absolute().parent.is_dir() else []
    raise FileNotFoundError(
        f"{rule}, which does not exist; a relative path starts at {os.getcwd()!r}.{did_you_mean(root.name, beside)}"
    )


def _why_no_class(root, strays):
    n_files = sum(not entry.is_symlink() for entry in strays)
    return (
        f"path must have one sub-folder per class, like {root.name}/cat/1.jpg and {root.name}/dog/1.jpg. "
        f"Got {str(root)!r} with {n_files} files and no sub-folder instead{_links_in(strays, ', but {}')}."
    )


def _why_no_image(found, extensions):
    others = [entry for each in found.values() for entry in each.others]
    return (
        f"each class must have at least one image. Got none in {enumerated([str(folder) for folder in found])} instead"
        f"{_links_in(others, ', with {}')}. Put images there; taken are files that end in "
        f"{', '.join(sorted(extensions))}."
    )


_OF_LINKS = (  # what counts, one of them, several, and what to do
    (Path.is_dir, "1 link to a folder", "links to folders", "not followed: put the folders themselves there"),
    (Path.is_file, "1 link to a file elsewhere", "links to files elsewhere", "not followed: put the files there"),
)


def _links_in(entries, form):
    """Say how many of the entries are links to folders or files, in a form such as "but {}"; nothing when none is."""
    links, told = [entry for entry in entries if entry.is_symlink()], []
    for is_kind, one, several, remedy in _OF_LINKS:
        if n := sum(map(is_kind, links)):
            told.append(f"{one}, which is {remedy}" if n == 1 else f"{n} {several}, which are {remedy}")
    return form.format("; ".join(told)) if told else ""


def _check_parts(root, images):
    """Refuse folders such as train and test: taken for classes, they would be learnt without a word."""
    inside = {folder: {_folder_below(folder, image) for image in own} - {None} for folder, own in images.items()}
    named = [folder for folder in images if is_part(folder.name)]
    parts = [folder for folder in named if inside[folder]]
    shared = set.intersection(*(inside[folder] for folder in parts)) if len(parts) > 1 else set()
    if not shared:  # a test folder may be without classes; then nothing but its name tells
        bare = {folder.name.lower() for folder in images} <= PARTS
        if len(images) == 1 or not bare or not parts:
            return
        named = list(images)
    first = next((folder for folder in parts if "train" in folder.name.lower()), parts[0])
    raise ValueError(
        f"path must have one folder per class. Got {str(root)!r} instead, where {enumerated([f.name for f in named])} "
        f"are parts of one data set, with the classes {enumerated(sorted(shared or inside[first]))} in them. Pass one "
        f"of them, {str(first)!r}; 'sktl train' takes another one as --test-folder, to score on."
    )


def _folder_below(folder, image):
    parts = image.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else None


def _warn_of(root, empty, left_out):
    """Name the folders that are no classes though they look like some, and those that are nobody's."""
    if not empty and not left_out:
        return
    said = []
    if empty:
        n_others = sum(map(len, empty.values()))
        others = f", but {n_others} other file(s)" if n_others else ""
        said.append(f"{enumerated([folder.name for folder in empty])} without an image{others}")
    if left_out:
        said.append(f"{enumerated([str(entry.relative_to(root)) for entry in left_out])}, hidden or made by the system")
    advice = "Put images there, or remove the folders." if empty else "Rename what is to be read, or remove it."
    warnings.warn(
        f"path must have images in each of its folders. Left out of {str(root)!r}: {'; and '.join(said)}. {advice}",
        stacklevel=3,
    )


def _checked_extensions(extensions):
    extensions = extensions if isinstance(extensions, str) else list(extensions)
    if isinstance(extensions, str) or not all(isinstance(extension, str) for extension in extensions):
        raise ValueError(f"extensions must be several strings, such as ['.jpg', '.png']. Got {extensions!r} instead.")
    return frozenset("." + extension.lower().lstrip(".") for extension in extensions)
