"""Pictures in every form in which they may be passed as X, and estimators fitted on them; for the image checks."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import torch
from PIL import Image
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

N_IMAGES, HEIGHT, WIDTH = 12, 20, 14


@functools.cache
def folder():
    """A folder for files, which is gone when the process ends."""
    path = Path(tempfile.mkdtemp(prefix="sktl-checks-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def _pictures():
    """Two kinds of stripes, taller than wide so that a turned picture is noticed."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 60, (N_IMAGES, HEIGHT, WIDTH, 3))
    X[::2, ::2] += 150
    X[1::2, :, ::3, 1:] += 150
    X = X.astype(np.uint8)
    X.setflags(write=False)
    return X


@functools.cache
def _paths():
    paths = [str(folder() / f"{i:02d}.png") for i in range(N_IMAGES)]
    for picture, path in zip(_pictures(), paths, strict=True):
        Image.fromarray(picture).save(path)
    return tuple(paths)


def pictures():
    """A fresh, writable array (n, height, width, 3) of uint8."""
    return _pictures().copy()


def paths():
    """The same pictures as PNG files."""
    return list(_paths())


def _objects(items):
    vector = np.empty(len(items), dtype=object)
    vector[:] = items
    return vector


def _memmap():
    path = folder() / "pictures.npy"
    if not path.exists():
        np.save(path, _pictures())
    return np.load(path, mmap_mode="r")


def kinds_in_memory():
    """Pictures that are in memory as pixels, by name of their form."""
    X = pictures()
    pil = [Image.fromarray(picture) for picture in X]
    return {
        "NHWC": X,
        "NCHW": np.ascontiguousarray(X.transpose(0, 3, 1, 2)),
        "NCHW view": X.transpose(0, 3, 1, 2),
        "Fortran order": np.asfortranarray(X),
        "RGBA": np.concatenate([X, np.full_like(X[..., :1], 255)], axis=3),
        "16 bit": X.astype(np.uint16) * 257,
        "nested lists": list(X),
        "tuple of arrays": tuple(X),
        "list of CHW": [picture.transpose(2, 0, 1) for picture in X],
        "object array of arrays": _objects(list(X)),
        "list of PIL": pil,
        "tuple of PIL": tuple(pil),
        "object column of PIL": _objects(pil)[:, None],
        "Series of PIL": pd.Series(pil),
        "frame of PIL": pd.DataFrame({"image": pil}),
        "tensor": torch.from_numpy(X.transpose(0, 3, 1, 2).copy()),
        "list of tensors": [torch.from_numpy(picture.transpose(2, 0, 1).copy()) for picture in X],
        "memmap": _memmap(),
    }


def kinds_of_files():
    """Pictures that are files, or their content, by name of their form."""
    names = paths()
    index = np.arange(N_IMAGES)[::-1] + 7
    return {
        "list of str": names,
        "tuple of str": tuple(names),
        "list of Path": [Path(name) for name in names],
        "list of bytes": [Path(name).read_bytes() for name in names],
        "array of str": np.array(names),
        "column of str": np.array(names)[:, None],
        "object array": np.array(names, dtype=object),
        "object column": np.array(names, dtype=object)[:, None],
        "Series": pd.Series(names, index=index),
        "Series of Path": pd.Series([Path(name) for name in names]),
        "frame": pd.DataFrame({"path": names}, index=index),
        "polars Series": pl.Series(names),
        "polars frame": pl.DataFrame({"path": names}),
    }


def targets(estimator):
    """Labels, or numbers, for the pictures."""
    if is_regressor(estimator):
        return np.linspace(-1, 3, N_IMAGES)
    return np.array(["tall", "wide"])[np.arange(N_IMAGES) % 2]


def fitted(estimator, X=None, **params):
    """A fitted clone."""
    estimator = clone(estimator).set_params(**params)
    X = pictures() if X is None else X
    y = targets(estimator)[np.arange(len(X)) % N_IMAGES]
    assert estimator.fit(X, y) is estimator
    return estimator


def outputs(estimator, X):
    """What the estimator says about images, as precisely as it can."""
    for method in ("transform", "predict_proba", "score_samples", "predict"):
        if hasattr(estimator, method):
            return getattr(estimator, method)(X)
    raise AssertionError(f"{estimator} has neither transform nor predict")


def as_predictor(estimator):
    """A pipeline with a linear model behind a transformer; a predictor as it is."""
    if hasattr(estimator, "transform"):
        return make_pipeline(clone(estimator), LogisticRegression(max_iter=2000))
    return clone(estimator)


def scorer_of(estimator):
    """The estimator's own score; what has none, since it knows no right answers, is scored by its mean output."""
    return None if hasattr(estimator, "score") else lambda model, X, y: outputs(model, X).mean()


def is_trained(estimator):
    return is_classifier(estimator) or is_regressor(estimator)
