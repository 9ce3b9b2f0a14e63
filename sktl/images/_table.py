"""A table of paths and labels → paths and targets."""

from __future__ import annotations

import os
import warnings
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

from sktl._targets import check_classes, has_fractions
from sktl._text import enumerated
from sktl.images._table_columns import read_columns


def load_image_table(
    table: Any,
    *,
    image: str,
    target: str | None = None,
    group: str | None = None,
    root: str | os.PathLike[str] | None = None,
    task: Literal["auto", "classification", "regression"] = "auto",
    separator: str | None = None,
) -> Any:
    r"""List the images of a table with one row per image, and what the table says of them; no image is read.

    Parameters
    ----------
    table : str, path-like or data frame
        A file that ends in .csv, .tsv or .parquet, or a frame of pandas or polars. CSV is in UTF-8, with the names of
        the columns in its first line, and commas, semicolons or tabs; its cells are taken as they are written: ``01``
        and ``NA`` are labels. Parquet needs pandas.
    image : str
        Name of the column of paths. ``~`` is your home.
    target : str or None, default=None
        Name of the column of labels or numbers; None where there is none.
    group : str or None, default=None
        Name of the column of groups: images of one patient, say.
    root : str, path-like or None, default=None
        Where relative paths start. None: in the folder of the file `table`; of a frame, in the working directory.
    task : {"auto", "classification", "regression"}, default="auto"
        What the targets are. "auto": numbers, if some have a fraction; otherwise classes, whole numbers too.
    separator : str or None, default=None
        What stands between labels in one cell, ``"|"`` for instance, where an image may have several. An empty cell
        then means none of them.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With the attributes

        - images : ndarray of str objects, shape (n_images,). Paths in the order of the table: pass it as `X`.
        - target : ndarray or None. Of classes, int of shape (n_images,), the position in `target_names`; of numbers,
          float of shape (n_images,); with `separator`, a matrix of zeros and ones of shape (n_images, n_labels).
        - target_names : list of str or None. Names of the classes or labels, sorted; None for numbers.
        - groups : ndarray of str, shape (n_images,), or None.
        - task : {"classification", "multilabel", "regression"} or None. What the targets were taken for.
        - DESCR : str. What was found.

    Raises
    ------
    FileNotFoundError
        If there is no such table, or images that it names do not exist: all of them are counted.
    TypeError
        If `table` is neither a path nor a frame.
    ValueError
        If a column does not exist, cells of it are empty, an image has two targets or groups, or targets do not fit the
        task: whole numbers of which most are different need ``task="regression"``.
    ImportError
        If pandas or pyarrow are needed and not installed.

    Warns
    -----
    UserWarning
        If rows come twice: it names their images, which are taken once.

    See Also
    --------
    load_image_folder : Images in one folder per class.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sktl.images import load_image_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("1.png", "2.png"):
    ...         Image.new("RGB", (8, 8)).save(Path(folder, name))
    ...     table = Path(folder, "photos.csv")
    ...     _ = table.write_text("path,label,patient\n1.png,bee,a\n2.png,ant,b\n")
    ...     data = load_image_table(table, image="path", target="label", group="patient")
    >>> data.target_names, data.target.tolist(), data.groups.tolist()
    (['ant', 'bee'], [1, 0], ['a', 'b'])
    """
    if task not in ("auto", "classification", "regression"):
        raise ValueError(f"task must be 'auto', 'classification' or 'regression'. Got {task!r} instead.")
    names = [name for name in (image, target, group) if name is not None]
    columns, folder = read_columns(table, names)
    if not columns[image]:
        raise ValueError("table must have a row for each image. Got none instead.")
    _refuse_what_is_no_path(image, columns[image])
    for name in (name for name in names if name != target or not separator):
        _refuse_empty_cells(name, columns[name], columns[image])
    rows = _rows_taken_once(columns, image)
    columns = {name: [cells[row] for row in rows] for name, cells in columns.items()}
    images = _existing(image, columns[image], folder if root is None else os.path.expanduser(root))
    found: tuple[Any, Any, Any] = (None, None, None)
    if target is not None:
        found = _labels(columns[target], separator) if separator else _targets(target, columns[target], task)
    targets, target_names, task = found
    return Bunch(
        images=np.array(images, dtype=object),
        target=targets,
        target_names=target_names,
        groups=None if group is None else np.array([_name(cell) for cell in columns[group]]),
        task=task,
        DESCR=f"{len(images)} images" + ("." if target is None else f" with the column {target!r}, for {task}."),
    )


def _refuse_what_is_no_path(name, cells):
    for cell in cells:
        if not (cell is None or isinstance(cell, (str, os.PathLike))):
            raise ValueError(
                f"the column {name!r} must hold paths. Got {type(cell).__name__} instead: name another one."
            )


def _refuse_empty_cells(name, cells, images):
    empty = [row for row, cell in enumerate(cells) if cell is None]
    if empty:
        where = enumerated([f"row {row + 1} ({images[row]})" for row in empty])
        raise ValueError(
            f"the column {name!r} must have a value in every row. Got none in {len(empty)} of {len(cells)} instead: "
            f"{where}. Fill them in, or leave these rows out."
        )


def _rows_taken_once(columns, image):
    """Return the first row of each image; name those that come again, and refuse those that then say another thing."""
    first, again, other = {}, [], []
    said = [cells for name, cells in columns.items() if name != image]  # a path may be spelt in two ways
    rows = list(zip(*said, strict=True)) or [()] * len(columns[image])
    for number, (path, row) in enumerate(zip(columns[image], rows, strict=True)):
        before = first.setdefault(os.path.normpath(path), number)
        if before != number:
            (again if rows[before] == row else other).append((path, before, number))
    for path, before, number in other[:1]:
        raise ValueError(
            f"table must say one thing of an image. Got {len(other)} images with two instead: {path!r} in the rows "
            f"{before + 1} and {number + 1}, for instance. Leave one out; several labels go into one cell, with "
            "separator between them."
        )
    if again:
        shown = enumerated([f"{path} (row {number + 1})" for path, _, number in again])
        warnings.warn(f"{len(again)} rows of the table come twice and are taken once: {shown}.", stacklevel=3)
    return sorted(first.values())


def _existing(name, cells, root):
    """Return paths of files that are there, or list those that are not."""
    paths = [os.path.join(root, os.path.expanduser(cell)) for cell in cells]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"the column {name!r} must name files that exist. Got {len(missing)} of {len(paths)} that do not instead: "
            f"{enumerated(missing)}. Relative paths start at {os.fspath(root or os.getcwd())!r}; root says where else."
        )
    return paths


def _targets(name, cells, task):
    """Return positions among the names of the classes, or numbers."""
    numbers = _as_numbers(cells)
    if task == "regression" or (task == "auto" and numbers is not None and has_fractions(numbers)):
        if numbers is None:
            wrong = [cell for cell in cells if _as_numbers([cell]) is None]
            raise ValueError(
                f"the column {name!r} must hold numbers for regression. Got {enumerated(wrong)} instead. Correct them, "
                'or pass task="classification".'
            )
        return numbers, None, "regression"
    if numbers is not None and not all(isinstance(cell, (bool, np.bool_)) for cell in cells):
        check_classes(numbers, f"the column {name!r}")
    labels = [_name(cell) for cell in cells]
    names = sorted(set(labels))
    if numbers is not None:
        names.sort(key=dict(zip(labels, numbers.tolist(), strict=True)).__getitem__)
    place = {label: number for number, label in enumerate(names)}
    return np.array([place[label] for label in labels], dtype=np.intp), names, "classification"


def _labels(cells, separator):
    """Return a matrix with a one where an image has a label, and the labels."""
    texts = ["" if cell is None else _name(cell) for cell in cells]
    own = [{label.strip() for label in text.split(separator)} - {""} for text in texts]
    names = sorted(set.union(*own))
    if not names:
        raise ValueError("table must have labels for some of its images. Got none instead.")
    return np.array([[int(name in labels) for name in names] for labels in own]), names, "multilabel"


def _as_numbers(cells):
    """Return finite numbers, or None where the cells are something else."""
    try:
        numbers = np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def _name(cell):
    """Write a class as people do: 1 where a column of numbers with empty cells has made it 1.0."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
