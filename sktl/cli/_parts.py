"""Features of any number of images: a folder of Parquet files, each written in one step by whoever computes it.

Names say what is inside, so that a command that is run again goes on where it stopped, and takes no others' files for
its own.
"""

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sktl._atomic_files import replacing
from sktl._executors import as_completed, call
from sktl._optional import import_optional
from sktl._text import enumerated
from sktl.cli._feature_files import parquet_table

__all__ = ["Plan", "write_parts"]

_STATE = b"sktl.images"  # under which a file says in which state the images were


@dataclass(frozen=True)
class Plan:
    """What is to be written: rows of columns in parts of a size, with features of one recipe."""

    folder: Path
    columns: dict  # name → cells, "path" among them
    names: list  # of features
    about: dict
    recipe: dict  # what else the features come from
    size: int

    def __len__(self):
        return -(-len(self.columns["path"]) // self.size)

    def part(self, number):
        """Return the cells of one part."""
        rows = slice(number * self.size, (number + 1) * self.size)
        return {name: cells[rows] for name, cells in self.columns.items()}

    def paths(self, number):
        """Return where the images of one part are, also for a process that runs in another folder."""
        return [os.path.abspath(path) for path in self.part(number)["path"]]

    def files(self):
        """Return the file of each part."""
        digests = (_digest([self.about, self.recipe, self.part(number)]) for number in range(len(self)))
        return [self.folder / f"{number:07}-{digest[:16]}.parquet" for number, digest in enumerate(digests)]

    def texts(self):
        """Name the columns of text: the same in all parts, also where a part has no label."""
        return [name for name, cells in self.columns.items() if any(isinstance(cell, str) for cell in cells)]


def write_parts(plan, content, executor, on_error):
    """Write what is missing; yield for each part what was found out, in the order in which they are done."""
    files = plan.files()
    _check_folder(plan.folder, files)
    plan.folder.mkdir(exist_ok=True)
    missing, texts = [], plan.texts()
    for number, file in enumerate(files):
        n_images = len(plan.part(number)["path"])
        if _is_done(file, plan.paths(number), plan.names):
            yield {"n_images": n_images, "n_kept": n_images, "n_bytes": file.stat().st_size}
        else:
            missing.append(number)

    def submit(number):
        job = plan.paths(number), plan.part(number), str(files[number].absolute()), texts, plan.names
        return executor.submit(call, f"{__name__}.write_part", content, *job, plan.about, on_error)

    for _, found in as_completed(executor, submit, missing):
        yield found


def write_part(content, paths, part, file, texts, names, about, on_error):
    """Embed the images of one part where this runs, and write them; return what happened in plain Python."""
    from sktl.inference import embed_chunk

    state = _state(paths)  # before they are read: a change meanwhile is one
    chunk = embed_chunk(content, paths)
    bad = [{"path": part["path"][failure.index], "reason": failure.reason} for failure in chunk.failures]
    found = {"n_images": chunk.n_images, "n_hits": chunk.n_found, "n_misses": chunk.n_computed, "unreadable": bad}
    if bad and on_error == "raise":
        return {**found, "n_bytes": 0}
    table = parquet_table(part, chunk.vectors, names, about, texts)
    table = table.replace_schema_metadata({**table.schema.metadata, _STATE: state})
    parquet = import_optional("pyarrow.parquet", extra="frame", caller="Writing .parquet")
    own = list(part)
    with replacing(file) as unfinished:
        # Features have neither repeated values nor an order that a reader could use.
        parquet.write_table(table, unfinished, use_dictionary=own, write_statistics=own)
    return {**found, "n_bytes": os.path.getsize(file)}


def _is_done(file, paths, names):
    """Whether a part is there in full, of the images as they are, with features for each of them."""
    import numpy as np

    pyarrow = import_optional("pyarrow", extra="frame", caller="Writing .parquet")
    parquet = import_optional("pyarrow.parquet", extra="frame", caller="Writing .parquet")
    if not file.is_file():
        return False
    try:
        with parquet.ParquetFile(file) as opened:
            numbers = opened.read(names[:1], use_threads=False).column(0).to_numpy()
            same = opened.schema_arrow.metadata.get(_STATE) == _state(paths)
    except (OSError, pyarrow.ArrowException):  # damaged
        return False
    return same and len(numbers) == len(paths) and not np.isnan(numbers).any()


def _state(paths):
    """Tell files apart from what they were, without reading them: by size and time of the last change."""
    status = [os.stat(path) if os.path.exists(path) else None for path in paths]
    return _digest([status and (status.st_size, status.st_mtime_ns) for status in status]).encode()


def _digest(value):
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _check_folder(folder, files):
    """Refuse a folder that holds something else, which would be read as one table with what is written."""
    if folder.is_dir():
        own = {file.name for file in files}
        others = sorted(name for name in os.listdir(folder) if not name.startswith((".", "_")) and name not in own)
        if others:
            raise ValueError(
                "--output must be a new folder, or one of the same images, labels, network and options, which is gone "
                f"on with. Got {str(folder)!r} with {enumerated(others)} instead, which are of others. Remove it, or "
                "name another one: what is in the store is not computed again."
            )
