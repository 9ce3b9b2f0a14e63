"""Tables of features as files: Parquet, NumPy's npz, or CSV."""

import csv
import json

from sktl._atomic_files import replacing
from sktl._optional import import_optional
from sktl._text import escaped

__all__ = ["ENDINGS", "check_packages", "write_features"]

ENDINGS = (".parquet", ".npz", ".csv")


def check_packages(path):
    """Refuse a format whose packages are not installed."""
    if path.suffix.lower() == ".parquet":
        for package in ("pandas", "pyarrow"):
            import_optional(package, extra="frame", caller="Writing .parquet")


def write_features(path, images, labels, features, names, about):
    """Write a table with one row per image, in one step."""
    write = {".parquet": _write_parquet, ".npz": _write_npz, ".csv": _write_csv}[path.suffix.lower()]
    with replacing(path) as unfinished:
        write(unfinished, images, labels, features, [str(name) for name in names], about)


def _write_npz(path, images, labels, features, names, about):
    import numpy as np

    # Arrays of text, not of objects: those would be pickled.
    arrays = {"path": np.array(images, dtype=np.str_), "features": features, "feature_names": np.array(names)}
    if labels is not None:
        arrays["label"] = np.array([label or "" for label in labels], dtype=np.str_)
    with open(path, "wb") as file:
        np.savez(file, **arrays, about=np.array(json.dumps(about)))


def _write_csv(path, images, labels, features, names, about):
    columns = _columns(images, labels)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *names])
        for *cells, vector in zip(*columns.values(), features, strict=True):
            # As few digits as give the same float32 again.
            writer.writerow([*cells, *map(str, vector)])


def _write_parquet(path, images, labels, features, names, about):
    pandas = import_optional("pandas", extra="frame", caller="Writing .parquet")
    frame = pandas.concat(
        [pandas.DataFrame(_columns(images, labels)), pandas.DataFrame(features, columns=names)], axis=1
    )
    frame.attrs = {"sktl": about}
    frame.to_parquet(path, index=False)


def _columns(images, labels):
    """Return paths and labels as text that any reader of tables takes."""
    columns = {"path": images} if labels is None else {"path": images, "label": labels}
    return {name: [text and escaped(text) for text in texts] for name, texts in columns.items()}
