"""Tables of features as ``sktl embed`` writes them to Parquet, read in blocks that fit into the memory."""

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sktl._optional import import_optional
from sktl._text import enumerated, unescaped
from sktl.cli._feature_files import ATTRS

__all__ = ["FeatureTable", "Labels", "recipe_in"]

_NUMBERS_IN_BLOCK = 2**21
_FEW = 10  # classes that may have a single image each


@dataclass
class Labels:
    """What is to be learnt from a column: numbers, or classes by name."""

    task: str
    n_images: int
    counts: dict = field(default_factory=dict)  # of classes, sorted by name
    numbers: dict = field(default_factory=dict)  # least, greatest and mean one
    unreadable: list = field(default_factory=list)  # paths of images without features


class FeatureTable:
    """A Parquet file of ``sktl embed``, or a folder of such, at any depth."""

    def __init__(self, path):
        self._parquet = import_optional("pyarrow.parquet", extra="frame", caller="Reading features")
        self.path, self.files = path, _files(path)

    @cached_property
    def about(self):
        """What the features are, which must be one and the same in all files."""
        recipes = {json.dumps(about, sort_keys=True): about for about in map(self._recipe, self.files)}
        if len(recipes) > 1:
            raise ValueError(
                f"--features must be of one recipe. Got {len(recipes)} in {str(self.path)!r} instead: other networks, "
                "weights, layers, poolings or sizes. Name one of them, or move the others away."
            )
        return next(iter(recipes.values()))

    @cached_property
    def columns(self):
        """The names of all columns."""
        return self._parquet.read_schema(self.files[0]).names

    def _recipe(self, file):
        about = recipe_in(self._parquet.read_schema(file))
        if about is None:
            raise ValueError(
                f"--features must be Parquet of 'sktl embed', which says of what network they are. {str(file)!r} does "
                "not. Write it again with 'sktl embed', or fit LinearProbeClassifier to its columns in Python."
            )
        return about

    def labels(self, column, task, marker):
        """Read through a column for what is to be learnt; rows without a number in `marker` are images without any."""
        if column not in self.columns:
            from sktl._validation import did_you_mean

            own = [name for name in self.columns if name in ("path", "label", "group")] or self.columns
            raise ValueError(
                f"--target must name a column of --features. Got {column!r} instead of "
                f"{enumerated(own, most=8)}.{did_you_mean(column, own)} A folder of class folders gives 'label'."
            )
        found = _Reading(column, task)
        paths = ["path"] if "path" in self.columns else []
        for batch in self._batches([column, marker, *paths]):
            marks, cells = batch.column(marker).to_numpy(zero_copy_only=False), batch.column(column).to_pylist()
            readable = marks == marks
            found.add([cell for cell, good in zip(cells, readable, strict=True) if good])
            for row in (~readable).nonzero()[0].tolist() if paths else ():
                found.unreadable.append(batch.column("path")[row].as_py())
        return found.labels()

    def blocks(self, features, column, labels):
        """Yield matrices of features, with numbers or with positions among the classes."""
        import numpy as np

        place = {name: number for number, name in enumerate(labels.counts)}
        for batch in self._batches([*features, column]):
            X = np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in features], axis=1)
            good = ~np.isnan(X[:, 0])
            if not np.isfinite(X := X[good]).all():
                raise ValueError(
                    f"--features must hold finite numbers. Got others in {str(self.path)!r} instead, besides rows of "
                    "NaN. Embed these images again."
                )
            cells = batch.column(column).to_pylist()
            cells = [cell if labels.task == "regression" else place[_name(cell)] for cell in cells]
            yield X, np.array(cells)[good]

    def _batches(self, columns):
        rows = max(1, _NUMBERS_IN_BLOCK // len(columns))
        for file in self.files:
            with self._parquet.ParquetFile(file) as opened:
                there = set(opened.schema_arrow.names)
                if missing := [name for name in columns if name not in there]:
                    raise ValueError(
                        f"--features must have the same columns in all files. Got none called {missing[0]!r} in "
                        f"{str(file)!r} instead. Move that file away, or write it again."
                    )
                yield from opened.iter_batches(rows, columns=columns, use_threads=False)


def recipe_in(schema):
    """Return what a Parquet file of ``sktl embed`` says of its features, or None."""
    metadata = schema.metadata or {}
    of_pandas = json.loads(metadata.get(ATTRS, b"{}"))
    of_pyarrow = json.loads(metadata.get(b"pandas", b"{}")).get("attributes", {})
    return (of_pandas or of_pyarrow).get("sktl")


def _files(path):
    """List the Parquet files of a table, without unfinished ones."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"--features must be a Parquet file, or a folder. Found nothing at {str(path)!r}.")
    found = [file for file in Path(path).rglob("*.parquet") if file.is_file()]
    files = sorted(file for file in found if not file.name.startswith("."))
    if not files:
        raise ValueError(f"--features must hold Parquet files. Got {str(path)!r} without any instead.")
    return files


class _Reading:
    """A column on its way to be understood, in memory that does not grow with the rows."""

    def __init__(self, column, task):
        self.column, self.task = column, task
        self.counts, self.n_missing, self.unreadable = Counter(), 0, []
        self.kinds, self.low, self.high, self.sum, self.n_images = set(), float("inf"), float("-inf"), 0.0, 0

    def add(self, cells):
        present = [cell for cell in cells if cell is not None and cell == cell and cell != ""]
        self.n_missing += len(cells) - len(present)
        self.n_images += len(present)
        numbers = [cell for cell in present if isinstance(cell, int | float) and not isinstance(cell, bool)]
        self.kinds |= {"text"} if len(numbers) < len(present) else set()
        self.kinds |= {"fractions"} if any(cell % 1 for cell in numbers) else set()
        if numbers:
            self.low, self.high = min(self.low, *numbers), max(self.high, *numbers)
            self.sum += sum(numbers)
        if not self._is_regression:
            self.counts.update(map(_name, present))

    @property
    def _is_regression(self):
        return self.task == "regression" or (self.task == "auto" and "fractions" in self.kinds)

    def labels(self):
        """Return what has been found, or say why nothing can be learnt from it."""
        what = f"the column {self.column!r} of --features"
        if self.n_missing:
            raise ValueError(
                f"{what} must have a value in every row. Got none in {self.n_missing} instead. Fill them in, or leave "
                "these rows out."
            )
        if not self.n_images:
            raise ValueError(f"{what} must have rows with features. Got none instead: no image could be read.")
        if self._is_regression:
            if "text" in self.kinds or not abs(self.low) + abs(self.high) < float("inf"):
                raise ValueError(f"{what} must hold finite numbers for regression. Got others instead: correct them.")
            numbers = {"min": float(self.low), "max": float(self.high), "mean": self.sum / self.n_images}
            return Labels("regression", self.n_images, numbers=numbers, unreadable=self.unreadable)
        if len(self.counts) < 2:
            raise ValueError(
                f"{what} must have at least two classes. Got {next(iter(self.counts))!r} alone instead. Name another "
                "column with --target."
            )
        if "text" not in self.kinds and len(self.counts) > max(_FEW, self.n_images / 2):
            raise ValueError(
                f"{what} must hold classes, each of several images. Got {len(self.counts)} different numbers for "
                f"{self.n_images} images instead. Pass --task regression to predict numbers."
            )
        return Labels("classification", self.n_images, dict(sorted(self.counts.items())), unreadable=self.unreadable)


def _name(cell):
    """Write a class as `load_image_table` does."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else unescaped(str(cell).strip())
