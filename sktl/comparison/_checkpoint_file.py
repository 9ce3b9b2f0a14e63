"""Finished fits kept in a file, one JSON line each, so that an interrupted comparison goes on where it stopped.

The file is not trusted: it holds JSON and nothing that runs. A line belongs to a fit by its key, a digest of everything
that the scores depend on; lines of other comparisons are simply not matched.
"""

import json
import os
import warnings
from dataclasses import asdict, fields
from hashlib import sha256
from numbers import Real
from pathlib import Path

from sktl._costs import COSTS
from sktl.comparison._description import described
from sktl.comparison._fingerprint import digest_of_images, versions
from sktl.comparison._records import FitRecord
from sktl.comparison._warnings import ResumeWarning

__all__ = ["Journal"]

START = b'{"sktl": "fit", "version": 1, "key": "'
FIELDS = {field.name for field in fields(FitRecord)}


class Journal:
    """The file of finished fits."""

    def __init__(self, path, X, y, scorers):
        self._path = Path(path)
        self._scorers = list(scorers)
        self._estimators: dict = {}  # id → description: each candidate is described once, not once per split
        common = [digest_of_images(X), repr(y.tolist()), described(scorers), versions()]
        self._common = sha256(json.dumps(common).encode()).hexdigest()
        with self._path.open("ab"):  # hours later would be too late to find out
            pass
        self._runs = self._read()
        self._writes = True

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
        if id(fit.estimator) not in self._estimators:
            self._estimators[id(fit.estimator)] = described(fit.estimator)
        parts = [self._common, fit.candidate, self._estimators[id(fit.estimator)], fit.seed]
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
    if not isinstance(content, dict) or content.keys() != FIELDS:
        raise TypeError("not the fields of a fit")
    run = FitRecord(**content)
    lists = [part for part in (run.predicted, run.confidence, run.history) if part is not None]
    counts = run.n_trained_parameters, run.n_parameters, run.n_images_through_network, run.peak_memory
    good = (
        isinstance(run.candidate, str)
        and isinstance(run.split, int)
        and isinstance(run.scores, dict)
        and all(_is_number(value) for value in [*run.scores.values(), run.fit_seconds, run.predict_seconds])
        and all(isinstance(part, list) for part in lists)
        and all(isinstance(label, (str, bool, int, float)) for label in run.predicted or [])
        and all(_is_number(share) for share in run.confidence or [])
        and all(isinstance(epoch, dict) and all(map(_is_number, epoch.values())) for epoch in run.history or [])
        and all(count is None or isinstance(count, int) for count in counts)
        and all(cost is None or _is_number(cost) for cost in (getattr(run, name) for name in COSTS))
        and isinstance(run.network, (dict, type(None)))
        and isinstance(run.pretrained, (bool, type(None)))
        and run.error is None
    )
    if not good:
        raise TypeError("not the values of a fit")
    return run


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)
