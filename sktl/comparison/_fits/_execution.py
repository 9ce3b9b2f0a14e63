"""All fits of a comparison: what was kept is taken over, what fails is reported, and the rest goes on."""

import warnings

from sklearn.utils.parallel import Parallel, delayed

from sktl.comparison._fits._fits import Fit, fit_and_score
from sktl.comparison._fits._progress import Progress
from sktl.comparison._warnings import CandidateFailedWarning

__all__ = ["run_all"]


def run_all(
    estimators, X, y, *, splits, seeds, scorers, baseline, n_jobs=None, verbose=0, on_error="raise", journal=None
):
    """Fit and score every candidate on every split.

    Parameters
    ----------
    estimators : dict of str to estimator
        The candidates.
    X, y
        All images, and their labels.
    splits : list of (train, test)
        Indices.
    seeds : list of int
        One for every split.
    scorers : dict of str to callable
        The first is the main one.
    baseline : str
        Without this candidate there is no comparison.
    n_jobs : int or None, default=None
        Fits at once.
    verbose : int, default=0
        One line per fit when positive.
    on_error : {"raise", "warn"}, default="raise"
        Whether a failing candidate ends the comparison, or is left out of it with a warning.
    journal : Journal or None, default=None
        Keeps finished fits, and knows those of an earlier run.

    Returns
    -------
    list of Run
        Split by split, the candidates of one split next to each other. Of a candidate that failed, nothing follows the
        failure.

    Raises
    ------
    RuntimeError
        If a candidate fails and `on_error` says so, the baseline fails, or fewer than two candidates are left; names
        candidate and split, and carries the original error as its cause.
    """
    fits = {
        (number, name): Fit(name, number, estimator, *splits[number], seeds[number], scorers)
        for number in range(len(splits))
        for name, estimator in estimators.items()
    }
    runs = {} if journal is None else {place: run for place, fit in fits.items() if (run := journal.find(fit))}
    todo = [fit for place, fit in fits.items() if place not in runs]
    progress = Progress(todo, len(runs), len(splits), next(iter(scorers)), verbose)
    failures = Failures(estimators, baseline, on_error, len(splits))
    tasks = (delayed(fit_and_score)(fit, X, y) for fit in todo if fit.candidate not in failures)
    results = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    try:
        for run, error in results:
            if run.candidate in failures:  # it was on its way already
                continue
            place = run.split, run.candidate
            runs[place] = run
            if error is None and journal is not None:
                journal.keep(fits[place], run)
            progress.show(run)
            if error is not None:
                failures.take(run, error)
                progress.drop(run.candidate)
    finally:
        _close(results)
    return [runs[place] for place in fits if place in runs and not failures.came_before(*place)]


def _close(results):
    with warnings.catch_warnings():  # after an error joblib warns of the fits that it calls off
        warnings.simplefilter("ignore")
        results.close()


class Failures:
    """Candidates that failed, and whether the comparison can go on without them.

    Parameters
    ----------
    candidates : collection of str
        All candidates.
    baseline : str
        The one that cannot be left out.
    on_error : {"raise", "warn"}
        What to do about the others.
    n_splits : int
        For messages.
    """

    def __init__(self, candidates, baseline, on_error, n_splits):
        self._n_candidates = len(candidates)
        self._baseline = baseline
        self._on_error = on_error
        self._n_splits = n_splits
        self._failed: dict = {}  # candidate → split, message and error

    def __contains__(self, candidate):
        return candidate in self._failed

    def came_before(self, split, candidate):
        """Whether the candidate had failed on an earlier split."""
        return candidate in self._failed and self._failed[candidate][0] < split

    def take(self, run, error):
        """Take in that a candidate failed; raise if the comparison cannot go on."""
        where = f"Candidate {run.candidate!r} failed on split {run.split + 1} of {self._n_splits}"
        where += f": {run.error.removesuffix('.')}"
        self._failed[run.candidate] = run.split, where, error
        if self._on_error == "raise" or run.candidate == self._baseline:
            raise RuntimeError(where) from error
        if self._n_candidates - len(self._failed) < 2:
            _, first, cause = next(iter(self._failed.values()))
            raise RuntimeError(f"{first}. Fewer than two candidates are left: there is nothing to compare.") from cause
        warnings.warn(f"{where}. It is left out of the comparison.", CandidateFailedWarning, stacklevel=5)
