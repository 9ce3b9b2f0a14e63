"""What a user who waits wants to know: which fit is done, its score, the answer so far, and how long the rest takes.

On a terminal a bar shows how far the work is that goes on at the moment.
"""

import time
from contextlib import contextmanager

import numpy as np
from tqdm.auto import tqdm

from sktl._text import number, seconds
from sktl.inference.progress import told_to

__all__ = ["Progress", "announced", "shown"]

# The answer so far is told again after so many times the seconds that had gone by when it was told last.
LATER, AT_LEAST = 2, 10


@contextmanager
def announced(text, verbose):
    """Say what goes on inside the block, with a bar on a terminal."""
    if not verbose:
        yield
        return
    print(f"{text} …", flush=True)
    with shown(text):
        yield


@contextmanager
def shown(label):
    """Draw how far the work inside the block is, by what tells it; on terminals and in notebooks alone."""
    with tqdm(desc=label, bar_format="{desc}: {elapsed}", unit="", disable=None, leave=False, miniters=1) as bar:

        def listen(unit, n_done, total):
            if bar.disable:
                return
            is_new, bar.unit, bar.total = unit != bar.unit, unit, total
            bar.bar_format = "{desc}: {unit} {n_fmt} of {total_fmt} |{bar:20}| {elapsed}"
            bar.update(n_done - bar.n)
            if is_new:
                bar.refresh()

        with told_to(listen):
            yield


class Progress:
    """Lines about the fits of a comparison, as they arrive."""

    def __init__(self, todo, kept, tiers, n_splits, scoring, verbose):
        self._left = [fit.candidate for fit in todo]
        self._n_done, self._n_fits, self._n_splits = len(kept), len(kept) + len(todo), n_splits
        self._scoring, self._verbose = scoring, verbose
        self._width = max(map(len, tiers))
        self._tiers = tiers  # candidate → 0 for those that are fitted first, on all splits, and so on
        self._tier = min((tiers[name] for name in self._left), default=0)  # whose fits go on
        self._scores: dict = {name: [] for name in tiers}
        for run in kept:
            self._scores[run.candidate].append(run.scores[scoring])
        self._seconds: dict = {}  # candidate → seconds of its fits so far, without what is not spent again
        self._work = 0.0  # seconds of all fits so far
        self._start = time.perf_counter()
        self._told = None  # seconds that had gone by when the answer so far was told
        if verbose and kept:
            print(f"{len(kept)} of {self._n_fits} fits were finished before and are taken from the file.", flush=True)

    def drop(self, candidate):
        """Expect nothing more of a candidate."""
        n_before = len(self._left)
        self._left = [name for name in self._left if name != candidate]
        self._n_fits -= n_before - len(self._left)
        self._scores.pop(candidate, None)

    def show(self, run, once=0.0):
        """Take in a fit that has been done, or has failed, and how many of its seconds are not spent again."""
        self._n_done += 1
        self._left.remove(run.candidate)
        if run.error is None:
            spent = run.fit_seconds + run.predict_seconds
            self._work += spent
            self._seconds.setdefault(run.candidate, []).append(max(spent - once, 0.0))
            self._scores[run.candidate].append(run.scores[self._scoring])
        if self._verbose:
            self._print(run)
            self._print_answer()

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
        """Seconds of the fits that are left, by the clock: several may run at once.

        As long as a candidate has not been fitted nobody knows what its fits take, so that it is the least.
        """
        if not self._left:
            return ""
        # A first fit loads and prepares what later ones find done.
        known = {name: float(np.mean(spent[1:] or spent)) for name, spent in self._seconds.items()}
        pace = min(1.0, (time.perf_counter() - self._start) / max(self._work, 1e-9))
        rest = pace * sum(known.get(name, 0.0) for name in self._left)
        if set(self._left) <= known.keys():
            return f"  about {_duration(rest)} left"
        return f"  at least {_duration(rest)} left" if rest >= 1 else ""

    def _print_answer(self):
        """Print the scores so far whenever a tier of candidates is through, and when twice the time has gone by."""
        if not self._left:
            return
        gone, tier = time.perf_counter() - self._start, min(self._tiers[name] for name in self._left)
        is_late = self._told is not None and gone >= LATER * max(self._told, AT_LEAST)
        if tier == self._tier and not is_late:
            return
        self._told, self._tier = gone, tier
        print(f"So far, {self._scoring} and its SD over the splits that are done:")
        for name, scores in self._scores.items():
            sd = number(float(np.std(scores, ddof=1)) if len(scores) > 1 else None)
            mean = number(float(np.mean(scores)) if scores else None)
            print(f"  {name:{self._width}}  {mean:>5}  {sd:>5}  {len(scores)} of {self._n_splits} splits", flush=True)


def _duration(value):
    if value < 90:
        return f"{seconds(value)} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
