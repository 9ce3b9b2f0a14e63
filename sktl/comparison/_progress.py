"""One line per fit: which one it was, what it scored, how long it took, and how long the rest may take."""

import time

from sktl._text import number, seconds

__all__ = ["Progress"]


class Progress:
    """What a user who waits wants to know."""

    def __init__(self, todo, n_kept, n_splits, scoring, verbose):
        self._left = [fit.candidate for fit in todo]
        self._n_done, self._n_fits, self._n_splits = n_kept, n_kept + len(todo), n_splits
        self._scoring = scoring
        self._verbose = verbose
        self._width = max(map(len, self._left), default=0)
        self._seconds: dict = {}  # candidate → seconds of its fits so far
        self._start = time.perf_counter()
        if verbose and n_kept:
            print(f"{n_kept} of {self._n_fits} fits were finished before and are taken from the file.", flush=True)

    def drop(self, candidate):
        """Expect nothing more of a candidate."""
        n_before = len(self._left)
        self._left = [name for name in self._left if name != candidate]
        self._n_fits -= n_before - len(self._left)

    def show(self, run):
        """Take in a fit that has been done, or has failed."""
        self._n_done += 1
        self._left.remove(run.candidate)
        if run.error is None:
            self._seconds.setdefault(run.candidate, []).append(run.fit_seconds + run.predict_seconds)
        if self._verbose:
            self._print(run)

    def _print(self, run):
        count = f"fit {self._n_done:{len(str(self._n_fits))}} of {self._n_fits}"
        split = f"split {run.split + 1:{len(str(self._n_splits))}}/{self._n_splits}"
        where = f"{count}  {split}  {run.candidate:{self._width}}"
        if run.error is not None:
            print(f"{where}  failed: {run.error}", flush=True)
            return
        score, spent = number(run.scores[self._scoring]), seconds(run.fit_seconds + run.predict_seconds)
        print(f"{where}  {self._scoring} {score}  {spent} s{self._rest()}", flush=True)

    def _rest(self):
        """Seconds of one fit of each candidate that is left, by the clock: several fits may run at once."""
        if not self._left:
            return ""
        known = {name: sum(spent) / len(spent) for name, spent in self._seconds.items()}
        typical = sum(known.values()) / len(known)
        work = sum(sum(spent) for spent in self._seconds.values())
        pace = (time.perf_counter() - self._start) / max(work, 1e-9)
        return f"  about {_duration(pace * sum(known.get(name, typical) for name in self._left))} left"


def _duration(value):
    if value < 90:
        return f"{seconds(value)} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
