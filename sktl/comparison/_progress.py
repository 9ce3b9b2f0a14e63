"""What a user who waits wants to know: which fit is done, its score, the answer so far, and how long the rest takes.

On a terminal a bar shows how far the work is that goes on at the moment.
"""

import time
from contextlib import contextmanager

import numpy as np

from sktl._text import number, seconds
from sktl.comparison._forecast import Forecast
from sktl.inference.progress import told_to, tqdm

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

    def __init__(self, todo, kept, tiers, n_splits, scoring, verbose, n_jobs=1):
        self._forecast = Forecast(todo, n_jobs)
        self._n_done, self._n_fits, self._n_splits = len(kept), len(kept) + len(todo), n_splits
        self._scoring, self._verbose = scoring, verbose
        self._width = max(map(len, tiers))
        self._tiers = tiers  # candidate → 0 for those that are fitted first, on all splits, and so on
        self._tier = min((tiers[fit.candidate] for fit in todo), default=0)  # whose fits go on
        self._scores: dict = {name: [] for name in tiers}
        for run in kept:
            self._scores[run.candidate].append(run.scores[scoring])
        self._start = time.perf_counter()
        self._told = None  # seconds that had gone by when the answer so far was told
        if verbose and kept:
            print(f"{len(kept)} of {self._n_fits} fits were finished before and are taken from the file.", flush=True)

    def drop(self, candidate):
        """Expect nothing more of a candidate."""
        n_before = len(self._forecast)
        self._forecast.drop(candidate)
        self._n_fits -= n_before - len(self._forecast)
        self._scores.pop(candidate, None)

    def expect(self, costs):
        """Take in what short fits tell of each candidate, and say so."""
        found = {name: own for name, own in costs.items() if own and name in self._scores}
        for name, own in found.items():
            self._forecast.expect(name, own)
        if found:
            most = {name: max(cost.at_most(n) for (n, _), cost in own.items()) for name, own in found.items()}
            fits = ", ".join(f"{name} up to {_duration(value)}" for name, value in most.items())
            print(f"A fit takes, timed on a few images: {fits}{self._rest()}", flush=True)

    def show(self, run, once=0.0):
        """Take in a fit that has been done, or has failed, and how many of its seconds are not spent again."""
        self._n_done += 1
        self._forecast.take(run, once)
        if run.error is None:
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
        """Say how long the rest takes; the least of it as long as nobody knows what some candidate takes."""
        rest, is_least = self._forecast.rest()
        if is_least:
            return f"  at least {_duration(rest)} left" if rest >= 1 else ""
        return f"  about {_duration(rest)} left" if len(self._forecast) else ""

    def _print_answer(self):
        """Print the scores so far whenever a tier of candidates is through, and when twice the time has gone by."""
        if not len(self._forecast):
            return
        gone = time.perf_counter() - self._start
        tier = min(self._tiers[name] for name in self._forecast.candidates())
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
