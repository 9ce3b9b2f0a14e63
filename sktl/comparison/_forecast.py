"""How long the fits that are left take: by those that are done, and before that by what short ones tell."""

import time
from heapq import heappush, heapreplace

import numpy as np

__all__ = ["Forecast"]


class Forecast:
    """The seconds that are left, by the clock, of fits of which several may run at once."""

    def __init__(self, todo, n_jobs):
        self._left = {(fit.split, fit.candidate): fit for fit in todo}  # in the order of their start
        self._n_jobs = n_jobs
        self._seconds: dict = {}  # candidate → seconds of its fits so far, without what is not spent again
        self._costs: dict = {}  # candidate → number of training and test images → FitCost
        self._pace: dict = {}  # candidate → seconds that its fits so far have taken, and those that were foreseen
        self._seen: dict = {}  # candidate → the images that its fits so far were trained on
        self._since: dict = {}  # fit that runs → when it was started
        self._start()

    def __len__(self):
        return len(self._left)

    def candidates(self):
        """Return the candidates of the fits that are left, in their order."""
        return [name for _, name in self._left]

    def drop(self, candidate):
        """Expect nothing more of a candidate."""
        self._left = {place: fit for place, fit in self._left.items() if fit.candidate != candidate}
        self._start()

    def expect(self, candidate, costs):
        """Take in what fits of a candidate cost, by their numbers of training and test images."""
        self._costs[candidate] = costs
        self._seen[candidate] = np.array([], dtype=np.intp)

    def take(self, run, once):
        """Take in a fit that has been done, or has failed, and how many of its seconds are not spent again."""
        fit, name = self._left.pop((run.split, run.candidate)), run.candidate
        if run.error is None:
            spent = run.fit_seconds + run.predict_seconds
            self._seconds.setdefault(name, []).append(max(spent - once, 0.0))
            if name in self._costs:
                taken, foreseen = self._pace.get(name, (0.0, 0.0))
                own, self._seen[name] = self._foreseen(fit, self._seen[name])
                self._pace[name] = taken + spent, foreseen + own
        self._start()

    def rest(self):
        """Return the seconds that are left, and whether nobody knows what some of the fits take."""
        now, seen, is_least, free = time.perf_counter(), dict(self._seen), False, []
        for place, fit in self._left.items():
            seconds = self._expected(fit, seen)
            is_least = is_least or seconds is None
            if place in self._since:
                heappush(free, max((seconds or 0.0) - (now - self._since[place]), 0.0))
            else:  # whoever is done first goes on with it
                heapreplace(free, free[0] + (seconds or 0.0))
        return max(free, default=0.0), is_least

    def _start(self):
        """Take note of which fits run: those that come first."""
        now = time.perf_counter()
        self._since = {place: self._since.get(place, now) for place in list(self._left)[: self._n_jobs]}

    def _expected(self, fit, seen):
        name = fit.candidate
        if name in self._costs:
            seconds, seen[name] = self._foreseen(fit, seen[name])
            taken, foreseen = self._pace.get(name, (1.0, 1.0))
            return seconds * taken / max(foreseen, 1e-9)
        if name in self._seconds:
            spent = self._seconds[name]
            return float(np.mean(spent[1:] or spent))  # a first fit loads and prepares what later ones find done
        return None

    def _foreseen(self, fit, seen):
        """Return what short fits tell of a fit, and the images that were trained on after it."""
        cost, after = self._costs[fit.candidate][len(fit.train), len(fit.test)], np.union1d(seen, fit.train)
        return cost.seconds + cost.per_new_image * (len(after) - len(seen)), after
