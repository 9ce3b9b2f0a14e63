"""Finished fits kept in a file, one JSON line each, so that an interrupted comparison goes on where it stopped.

The file is not trusted: it holds JSON and nothing that runs, and its values are checked by the types of the record's
fields. A line belongs to a fit by its key, a digest of everything that the scores depend on; lines of other comparisons
are simply not matched.
"""

import json
import os
import warnings
from dataclasses import asdict
from hashlib import sha256
from numbers import Real
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints
from uuid import uuid4

from sktl.comparison._records import FitRecord
from sktl.comparison._resume_key import digest_of, digest_of_images, versions
from sktl.comparison._warnings import ResumeWarning

__all__ = ["CheckpointFile"]

START = b'{"sktl": "fit", "version": 1, "key": "'
KINDS = get_type_hints(FitRecord)  # of the fields


class CheckpointFile:
    """The file of finished fits."""

    def __init__(self, path, X, y, scorers, candidates):
        self._path = Path(path)
        self._scorers = list(scorers)
        self._candidates = {}
        for name, estimator in candidates.items():
            self._candidates[name] = self._recognised(f"Candidate {name!r}", estimator)
        scores = [[name, self._recognised(f"The score {name!r}", scorer)] for name, scorer in scorers.items()]
        common = [digest_of_images(X), repr(y.tolist()), scores, versions()]
        self._common = sha256(json.dumps(common).encode()).hexdigest()
        if self._path.exists() and not (self._path.is_file() or self._path.is_dir()):
            raise ValueError(
                f"resume must be a regular file, or a new one. Got {str(self._path)!r} instead, a pipe, socket or "
                "device, which may have no end: name a file."
            )
        with self._path.open("ab"):  # hours later would be too late to find out
            pass
        self._runs = self._read()
        self._writes = True

    def _recognised(self, what, value):
        """Return a digest; one that no other call will find again where there is none."""
        try:
            return digest_of(value)
        except TypeError as error:
            warnings.warn(
                f"{what} cannot be recognised by a later call, which does its fits again: {error}",
                ResumeWarning,
                stacklevel=5,
            )
            return uuid4().hex

    def find(self, fit):
        """Return the record of a fit that was finished before, or None."""
        run = self._runs.get(self._key(fit))
        if run is None or (run.candidate, run.split, list(run.scores)) != (fit.candidate, fit.split, self._scorers):
            return None
        n_predicted = {len(part) for part in (run.predicted, run.confidence) if part is not None}
        return run if n_predicted <= {len(fit.test)} else None

    def keep(self, fit, run):
        """Write the record of a finished fit, in one go and down to the disk."""
        if not self._writes:
            return
        content = json.dumps(self._key(fit))[1:-1].encode() + b'", "run": ' + json.dumps(asdict(run)).encode()
        try:
            self._append(START + content + b"}\n")
        except OSError as error:
            self._writes = False
            warnings.warn(
                f"{self._path} cannot be written to any longer: {error}. The comparison goes on, and fits are no "
                "longer kept.",
                ResumeWarning,
                stacklevel=6,
            )

    def _append(self, line):
        with self._path.open("a+b", buffering=0) as file:
            if (size := os.fstat(file.fileno()).st_size) > 0:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # whoever wrote before was killed in the middle of a line
                    line = b"\n" + line
            if file.write(line) != len(line):
                raise OSError("only a part of the line was written")
            os.fsync(file.fileno())

    def _key(self, fit):
        parts = [self._common, fit.candidate, self._candidates[fit.candidate], fit.seed]
        return sha256(json.dumps([*parts, fit.train.tolist(), fit.test.tolist()]).encode()).hexdigest()

    def _read(self):
        lines = self._path.read_bytes().splitlines()
        if lines and lines[0][: len(START)] != START[: len(lines[0])]:
            raise ValueError(
                "resume must be a new file, or one in which compare_transfer keeps its finished fits. "
                f"Got {str(self._path)!r} instead, which holds something else."
            )
        runs, n_broken = {}, 0
        for line in filter(None, lines):
            try:
                content = json.loads(line)
                runs[content["key"]] = _checked_run(content["run"])
            except (ValueError, TypeError, KeyError, RecursionError):
                # the line in which a process was killed is no surprise
                n_broken += line.endswith(b"}}") or not line.startswith(START[: len(line)])
        if n_broken:
            warnings.warn(
                f"{n_broken} lines of {self._path} cannot be read and are passed over: their fits are done again.",
                ResumeWarning,
                stacklevel=5,
            )
        return runs


def _checked_run(content):
    """Make the record, or raise TypeError where it does not hold what it should."""
    if not isinstance(content, dict) or content.keys() != KINDS.keys():
        raise TypeError("not the fields of a fit")
    if not all(_is_of(value, KINDS[name]) for name, value in content.items()) or content["error"] is not None:
        raise TypeError("not the values of a fit")
    return FitRecord(**content)


def _is_of(value, kind):
    """Whether a value from JSON is of an annotated type."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is_of(value, one) for one in inside)
    if origin is list:
        return isinstance(value, list) and all(_is_of(item, inside[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is_of(item, inside[1]) for item in value.values())
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, Real if kind is float else kind)
