"""All fits of a comparison: what was kept is taken over, what fails is reported, and the rest goes on."""

import os
import pickle
import socket
import warnings
from contextlib import nullcontext, suppress

from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sktl._clusters import end_with_errors, on_workers
from sktl._executors import lost_worker_errors
from sktl.comparison._candidates import networks_in_turn, tier_of
from sktl.comparison._embedding_first import Charge, embed_first
from sktl.comparison._fitting import FitTask, fit_and_score
from sktl.comparison._progress import Progress, shown
from sktl.comparison._warnings import CandidateFailedWarning
from sktl.exceptions import ImageReadError
from sktl.fine_tuning.rehearsal import can_be_rehearsed, rehearsed
from sktl.images import take_rows
from sktl.inference import share_warned
from sktl.inference.progress import kept_work

__all__ = ["run_all"]


def run_all(
    estimators,
    X,
    y,
    *,
    splits,
    seeds,
    scorers,
    baseline,
    n_jobs=None,
    verbose=0,
    on_error="raise",
    checkpoint_file=None,
    n_others=0,
):
    """Fit and score every candidate on every split; those that train a network come last, on all splits.

    `n_others` candidates have been fitted before: with them there is something to compare where one of these fails.
    """
    fits = {
        (number, name): FitTask(name, number, estimator, *splits[number], seeds[number], scorers)
        for number in range(len(splits))
        for name, estimator in estimators.items()
    }
    runs = {place: run for place, fit in fits.items() if checkpoint_file and (run := checkpoint_file.find(fit))}
    tiers = {name: tier_of(estimator) for name, estimator in estimators.items()}
    order = _ordered([place for place in fits if place not in runs], tiers, estimators)
    todo = [fits[place] for place in order]
    n_at_once = effective_n_jobs(n_jobs)
    progress = Progress(todo, runs.values(), tiers, len(splits), next(iter(scorers)), verbose, n_at_once)
    failures = Failures(len(estimators) + n_others, baseline, on_error, len(splits))
    charges = embed_first(todo, X, verbose=verbose)
    arrivals = Arrivals(fits, order, runs, failures, progress, checkpoint_file, charges)
    X, y = on_workers(X, y)
    here = _this_process(), share_warned(), bool(verbose) and n_at_once == 1
    rehearsals = _rehearsals(todo) if verbose else {}

    def tasks():
        for fit in todo:
            if rehearsals and tiers[fit.candidate] > 0:  # the first answer stands
                yield delayed(_rehearsed_here)(rehearsals.copy(), X, y)
                rehearsals.clear()
            if arrivals.is_wanted(fit.candidate):
                yield delayed(_fitted_here)(fit, X, y, *here)

    results = _parallel(n_jobs)(tasks())
    try:
        for run, *about in results:
            if run is None:
                progress.expect(*about)
            else:
                arrivals.take(run, *about)
    except lost_worker_errors() as error:
        raise RuntimeError(_about_lost_worker(error, checkpoint_file)) from error
    finally:
        _close(results)
    return [runs[place] for place in fits if place in runs and not failures.came_before(*place)]


def _parallel(n_jobs):
    """Return what runs tasks one by one and gives results in any order: one that waits is lost with an interrupt."""
    end_with_errors()
    return Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)


def _ordered(places, tiers, estimators):
    """Sort fits, by split and candidate, by tier, and within it by network."""
    turns = networks_in_turn(estimators)
    return sorted(places, key=lambda place: (tiers[place[1]], turns[place[1]]))


def _fitted_here(fit, X, y, home, warned, has_bar):
    share_warned(warned)
    with kept_work() as once, shown(f"split {fit.split + 1}, {fit.candidate}") if has_bar else nullcontext():
        run, error = fit_and_score(fit, X, y)
    return run, error if _this_process() == home else _as_sent(error), sum(once)


def _this_process():
    return socket.gethostname(), os.getpid()  # workers on other machines may have the same number


def _rehearsals(todo):
    """Return the first fit of each candidate that short fits can tell of, with the sizes of all its fits."""
    found: dict = {}
    for fit in todo:
        if can_be_rehearsed(fit.estimator):
            found.setdefault(fit.candidate, (fit, []))[1].append((len(fit.train), len(fit.test)))
    return found


def _rehearsed_here(rehearsals, X, y):
    """Return what fits of each candidate cost, and that this is no fit."""
    costs = {}
    for name, (fit, sizes) in rehearsals.items():
        with suppress(Exception):  # the fit itself meets the same, and says so
            costs[name] = rehearsed(fit.estimator, take_rows(X, fit.train), y[fit.train], sizes)
    return None, costs


def _as_sent(error):
    """Replace an error that would not survive the way to another process by its words."""
    try:
        pickle.loads(pickle.dumps(error))  # what was made here
    except Exception:  # whatever the class of the error thought of
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _about_lost_worker(error, checkpoint_file):
    kept = "Pass resume='fits.jsonl' to keep finished fits"
    if checkpoint_file is not None:
        kept = "Finished fits are kept: call again with the same resume"
    return (
        f"A worker process died, often for lack of memory, and took its fits with it. {kept}, and n_jobs=1 for less "
        f"memory and to see which candidate it was. joblib says: {error}"
    )


def _close(results):
    # After an error joblib warns of the fits that it calls off. Filters are those of the whole process: a thread that
    # is still fitting may put its own back meanwhile, and make an error of the warning.
    with warnings.catch_warnings(), suppress(UserWarning):
        warnings.simplefilter("ignore")
        results.close()


class Arrivals:
    """Results as they come, in any order, and judged in that of their start: the outcome does not depend on the former.

    A failure counts once everything before it is there. Fits are started in order, so what is before it is on its way.
    """

    def __init__(self, fits, order, runs, failures, progress, checkpoint_file, charges):
        self._fits, self._runs, self._charges = fits, runs, charges
        self._failures, self._progress, self._checkpoint_file = failures, progress, checkpoint_file
        self._errors: dict = {}  # split and candidate → error
        self._failing: set = set()  # candidates, before their failure counts
        self._image_is_bad = False
        self._waiting = list(order)

    def is_wanted(self, candidate):
        """Whether another fit of the candidate should be started."""
        if self._image_is_bad or self._failures.would_end_with(self._failing):
            return False
        return candidate not in self._failing

    def take(self, run, error, once):
        """Take in a result; raise if the comparison cannot go on."""
        place = run.split, run.candidate
        charge = self._charges.get(place, Charge())
        run, once = charge.added_to(run), once + charge.fit_seconds + charge.predict_seconds
        self._runs[place] = run
        if error is None and self._checkpoint_file is not None:
            self._checkpoint_file.keep(self._fits[place], run)
        self._image_is_bad = self._image_is_bad or isinstance(error, ImageReadError)
        if run.candidate not in self._failing and not self._image_is_bad:  # otherwise it was on its way already
            self._progress.show(run, once)
        if error is not None:
            self._errors[place] = error
            self._failing.add(run.candidate)
            self._progress.drop(run.candidate)
        while self._waiting and (self._waiting[0] in self._runs or self._waiting[0][1] in self._failures):
            place = self._waiting.pop(0)
            if place in self._errors and place[1] not in self._failures:
                self._failures.take(self._runs[place], self._errors[place])


class Failures:
    """Candidates that failed, and whether the comparison can go on without them."""

    def __init__(self, n_candidates, baseline, on_error, n_splits):
        self._n_candidates = n_candidates
        self._baseline = baseline
        self._on_error = on_error
        self._n_splits = n_splits
        self._failed: dict = {}  # candidate → split, message and error

    def __contains__(self, candidate):
        return candidate in self._failed

    def came_before(self, split, candidate):
        """Whether the candidate had failed on an earlier split."""
        return candidate in self._failed and self._failed[candidate][0] < split

    def would_end_with(self, failing):
        """Whether the comparison cannot go on without these candidates."""
        return bool(failing) and (
            self._on_error == "raise" or self._baseline in failing or self._n_candidates - len(failing) < 2
        )

    def take(self, run, error):
        """Take in that a candidate failed; raise if the comparison cannot go on."""
        where = f"Candidate {run.candidate!r} failed on split {run.split + 1} of {self._n_splits}"
        where += f": {run.error.removesuffix('.')}"
        self._failed[run.candidate] = run.split, where, error
        if isinstance(error, ImageReadError):  # which the other candidates would stumble over as well
            raise RuntimeError(where) from error
        if self._on_error == "raise" or run.candidate == self._baseline:
            raise RuntimeError(where) from error
        if self._n_candidates - len(self._failed) < 2:
            _, first, cause = next(iter(self._failed.values()))
            raise RuntimeError(f"{first}. Fewer than two candidates are left: there is nothing to compare.") from cause
        warnings.warn(f"{where}. It is left out of the comparison.", CandidateFailedWarning, stacklevel=6)
