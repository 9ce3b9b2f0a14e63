"""A folder with one sub-folder per class → paths and targets."""

import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sktl.images.formats import EXTENSIONS


def load_image_folder(path, *, extensions=None):
    """List the images of a folder that has one sub-folder per class; no image is read.

    Parameters
    ----------
    path : str or path-like
        The folder. Each folder in it is a class and is searched to any depth. Names that begin with a dot are ignored.
        Links to folders are not followed, and links to files only if the file lies inside `path`.
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
        - DESCR : str. What was found, and how many files and links were ignored.

    Raises
    ------
    NotADirectoryError
        If `path` is not a folder.
    ValueError
        If there is no sub-folder that is not a link, or a class has no image.

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
    root = Path(path)
    if not root.is_dir():
        raise NotADirectoryError(f"path must be a folder with one folder per class. Got {os.fspath(path)!r} instead.")
    extensions = EXTENSIONS if extensions is None else _checked_extensions(extensions)
    classes, strays = _entries(root)
    if not classes:
        raise ValueError(_why_no_class(root, strays))
    images, target, ignored = [], [], strays
    for number, folder in enumerate(classes):
        found, left = _search(folder, root.resolve(), extensions)
        if not found:
            raise ValueError(
                f"each class must have at least one image. Got none in {str(folder)!r} instead"
                f"{_links_in(left, ', with {}')}; remove the folder, or pass extensions. Taken are: "
                f"{', '.join(sorted(extensions))}."
            )
        images += found
        target += [number] * len(found)
        ignored = ignored + left
    names = [folder.name for folder in classes]
    n_links = sum(entry.is_symlink() for entry in ignored)
    return Bunch(
        images=np.array(images, dtype=object),
        target=np.array(target, dtype=np.intp),
        target_names=names,
        n_ignored_files=len(ignored) - n_links,
        n_ignored_links=n_links,
        DESCR=(
            f"{len(images)} images of {len(names)} classes in {root}; {len(ignored) - n_links} other files and "
            f"{n_links} links ignored{_links_in(ignored, ' ({})')}."
        ),
    )


def _why_no_class(root, strays):
    n_files = sum(not entry.is_symlink() for entry in strays)
    return (
        f"path must have one sub-folder per class, like {root.name}/cat/1.jpg and {root.name}/dog/1.jpg. "
        f"Got {str(root)!r} with {n_files} files and no sub-folder instead{_links_in(strays, ', but {}')}."
    )


def _links_in(entries, form):
    """Say how many of the entries are links to folders, in a form such as "but {}"; nothing when none is."""
    n_links = sum(entry.is_symlink() and entry.is_dir() for entry in entries)
    if not n_links:
        return ""
    links = "1 link to a folder, which is" if n_links == 1 else f"{n_links} links to folders, which are"
    return form.format(f"{links} not followed: put the folders themselves there")


def _entries(folder):
    """Sub-folders and other entries, each sorted by name, without hidden ones."""
    entries = sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda e: e.name)
    folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    known = set(folders)
    return folders, [entry for entry in entries if entry not in known]


def _search(folder, root, extensions):
    """Paths of the images at any depth below the folder, and the files and links left out."""
    folders, files = _entries(folder)
    taken = [file for file in files if file.suffix.lower() in extensions and _is_inside(file, root)]
    known = set(taken)
    found, ignored = [str(file) for file in taken], [file for file in files if file not in known]
    for inner in folders:
        more, left = _search(inner, root, extensions)
        found, ignored = found + more, ignored + left
    return found, ignored


def _is_inside(file, root):
    """Whether the entry is a file, and stays in the root when links are resolved."""
    return file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(root))


def _checked_extensions(extensions):
    extensions = extensions if isinstance(extensions, str) else list(extensions)
    if isinstance(extensions, str) or not all(isinstance(extension, str) for extension in extensions):
        raise ValueError(f"extensions must be several strings, such as ['.jpg', '.png']. Got {extensions!r} instead.")
    return frozenset("." + extension.lower().lstrip(".") for extension in extensions)
