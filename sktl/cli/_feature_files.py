"""Tables of features as files: Parquet, NumPy's npz, or CSV."""

import csv
import json

from sktl._atomic_files import replacing
from sktl._optional import import_optional
from sktl._text import escaped

__all__ = ["ATTRS", "ENDINGS", "check_packages", "classes_in", "parquet_table", "write_features"]

ENDINGS = (".parquet", ".npz", ".csv")
ATTRS = b"PANDAS_ATTRS"  # where pandas keeps the attrs of a frame; pyarrow before 22 keeps none


def check_packages(path):
    """Refuse a format whose packages are not installed."""
    if path.suffix.lower() == ".parquet":
        for package in ("pandas", "pyarrow"):
            import_optional(package, extra="frame", caller="Writing .parquet")


def classes_in(columns):
    """List the classes of a table of images."""
    return sorted({label for label in columns.get("label", ()) if isinstance(label, str)})


def write_features(path, columns, features, names, about):
    """Write a table with one row per image, in one step: columns of what is known of it, and its features."""
    write = {".parquet": _write_parquet, ".npz": _write_npz, ".csv": _write_csv}[path.suffix.lower()]
    with replacing(path) as unfinished:
        write(unfinished, columns, features, [str(name) for name in names], about)


def _write_npz(path, columns, features, names, about):
    import numpy as np

    # Arrays of text, not of objects: those would be pickled.
    arrays = {"features": features, "feature_names": np.array(names), "about": np.array(json.dumps(about))}
    for name, cells in columns.items():
        numbers = all(isinstance(cell, float) for cell in cells)
        arrays[name] = np.array(cells) if numbers else np.array([cell or "" for cell in cells], dtype=np.str_)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _write_csv(path, columns, features, names, about):
    columns = _as_text(columns)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *names])
        for *cells, vector in zip(*columns.values(), features, strict=True):
            # As few digits as give the same float32 again.
            writer.writerow([*cells, *map(str, vector)])


def _write_parquet(path, columns, features, names, about):
    _frame(columns, features, names, about).to_parquet(path, index=False)


def parquet_table(columns, features, names, about, texts):
    """Make the table that is written as Parquet, in the memory, with some columns as text whatever is in them."""
    pyarrow = import_optional("pyarrow", extra="frame", caller="Writing .parquet")
    types = [(name, pyarrow.string() if name in texts else pyarrow.float64()) for name in columns]
    schema = pyarrow.schema(types + [(name, pyarrow.float32()) for name in names])
    frame = _frame(columns, features, names, about)
    table = pyarrow.Table.from_pandas(frame, schema, preserve_index=False)
    return table.replace_schema_metadata({**table.schema.metadata, ATTRS: json.dumps(frame.attrs)})


def _frame(columns, features, names, about):
    pandas = import_optional("pandas", extra="frame", caller="Writing .parquet")
    frame = pandas.concat([pandas.DataFrame(_as_text(columns)), pandas.DataFrame(features, columns=names)], axis=1)
    frame.attrs = {"sktl": about}
    return frame


def _as_text(columns):
    """Return the columns with text that any reader of tables takes."""
    return {
        name: [escaped(cell) if isinstance(cell, str) else cell for cell in cells] for name, cells in columns.items()
    }
