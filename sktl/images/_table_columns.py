"""Columns of a table by their names: of a file as CSV, TSV or Parquet, or of a data frame."""

import csv
import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from sktl._optional import import_optional
from sktl._targets import is_missing
from sktl._text import enumerated, unescaped
from sktl._validation import did_you_mean
from sktl.images._recognition import is_frame

__all__ = ["read_columns"]

_SEPARATORS = {".csv": ",;\t", ".tsv": "\t", ".tab": "\t", ".txt": "\t,;"}
_PARQUET = (".parquet", ".pq")


def read_columns(table, names):
    """Return some columns as lists, and the folder that relative paths start at: that of the file, or none."""
    if is_frame(table):
        return _of_frame(table, names), ""
    if not isinstance(table, (str, os.PathLike)):
        raise TypeError(f"table must be a file, or a data frame. Got {type(table).__name__} instead: write its path.")
    path = Path(os.path.expanduser(table))
    if not path.is_file():
        raise FileNotFoundError(f"table must be a file, or a data frame. Found no file at {str(path)!r} instead.")
    ending = path.suffix.lower()
    if ending in _PARQUET:
        pandas = import_optional("pandas", extra="frame", caller="Reading .parquet")
        columns = _of_frame(pandas.read_parquet(path), names)
    elif ending in _SEPARATORS:
        columns = _of_text(path, names, _SEPARATORS[ending])
    else:
        endings = ", ".join([*_SEPARATORS, *_PARQUET])
        raise ValueError(f"table must end in {endings}. Got {str(path)!r} instead: pass the data frame that it holds.")
    return columns, os.path.dirname(path)


def _of_frame(frame, names):
    _check_names(names, list(frame.columns))
    return {name: [_cell(cell) for cell in frame[name]] for name in names}


def _of_text(path, names, separators):
    """Read texts as they are, without guessing what they stand for: "01" and "NA" are labels."""
    columns = {name: [] for name in names}
    # A name of a file that is no UTF-8 may be in the table as its bytes, or as `escaped` has spelt it.
    with open(path, "rb") as file:
        encoding = "utf-16" if file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig"
    with open(path, newline="", encoding=encoding, errors="surrogateescape") as file:
        first = file.readline()
        file.seek(0)
        separator = max(separators, key=first.count)
        reader = csv.reader(file, delimiter=separator, skipinitialspace=separator != "\t")
        try:
            header = [cell.strip() for cell in next(reader, [])]
            _check_names(names, header)
            places = {name: header.index(name) for name in names}
            for row in filter(None, reader):
                if len(row) != len(header):
                    raise ValueError(
                        f"table must have as many cells in each line as in the first, {len(header)}. Got {len(row)} in "
                        f"line {reader.line_num} of {str(path)!r} instead. Put cells with {separator!r} into quotes."
                    )
                for name, place in places.items():
                    columns[name].append(_cell(row[place]))
        except csv.Error as error:
            raise ValueError(
                f"table must be text in UTF-8. {str(path)!r} cannot be read as such, after line {reader.line_num}: "
                f"{error}. Save it as CSV in UTF-8."
            ) from error
    return columns


def _cell(cell):
    """Return None for an empty cell, and a name of a file as the file system has it."""
    if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return None
    return unescaped(cell) if isinstance(cell, str) else cell


def _check_names(names, header):
    for name in names:
        if name not in header:
            raise ValueError(
                f"table must have the column {name!r}. Got {enumerated(header, most=8) if header else 'none'} instead."
                f"{did_you_mean(name, header)}"
            )
