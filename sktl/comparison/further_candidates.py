"""A finished comparison with further candidates, on its own splits and with its own seeds: nothing is done twice."""

from dataclasses import replace

from sktl.comparison._candidates import uses_transfer
from sktl.comparison._checkpoint_file import CheckpointFile
from sktl.comparison._execution import run_all
from sktl.comparison._fitting import FitTask
from sktl.comparison._scoring import check_scoring

__all__ = ["facts_of", "share_missing", "with_candidates"]


def with_candidates(
    comparison, X, estimators, *, scoring=None, like=None, resume=None, n_jobs=None, on_error="warn", verbose=0
):
    """Fit further unfitted estimators on the splits of a comparison, and return a comparison that has them as well.

    `X` are the images of the comparison; or, with the name of a candidate in `like`, vectors that the network of that
    candidate made of them. `scoring` is that of the comparison. A candidate that fails is left out with a warning.
    """
    scorers = check_scoring(scoring, comparison.settings["task"])
    file = None if resume is None else CheckpointFile(resume, X, comparison.y, scorers, estimators)
    fitted = run_all(
        estimators,
        X,
        comparison.y,
        splits=comparison.splits,
        seeds=comparison.seeds,
        scorers=scorers,
        baseline=comparison.baseline,
        n_jobs=n_jobs,
        verbose=verbose,
        on_error=on_error,
        checkpoint_file=file,
        n_others=len(comparison.candidates),
    )
    transfer, facts = facts_of(fitted, estimators)
    if like is not None:
        transfer = dict.fromkeys(transfer, comparison.transfer[like])
        facts["networks"] = dict.fromkeys(facts["networks"], comparison.settings["networks"][like])
    settings = {**comparison.settings, **{name: comparison.settings.get(name, {}) | new for name, new in facts.items()}}
    settings.pop("call", None)  # which would make the first candidates alone
    runs = (*comparison.runs, *fitted)
    return replace(comparison, runs=runs, transfer={**comparison.transfer, **transfer}, settings=settings)


def share_missing(comparison, X, estimators, *, scoring=None, resume=None):
    """Return which share of the fits of further estimators an earlier call has not left in the file."""
    if resume is None:
        return 1.0
    scorers = check_scoring(scoring, comparison.settings["task"])
    file = CheckpointFile(resume, X, comparison.y, scorers, estimators)
    fits = [
        FitTask(name, number, estimator, *split, seed, scorers)
        for name, estimator in estimators.items()
        for number, (split, seed) in enumerate(zip(comparison.splits, comparison.seeds, strict=True))
    ]
    return sum(file.find(fit) is None for fit in fits) / len(fits)


def facts_of(runs, estimators):
    """Tell which candidates start from pretrained weights, and what to write down about each."""
    first = {run.candidate: run for run in reversed(runs)}
    transfer = {
        name: uses_transfer(estimator) if first[name].pretrained is None else first[name].pretrained
        for name, estimator in estimators.items()
    }
    facts = {
        "estimators": {name: repr(estimator) for name, estimator in estimators.items()},
        "networks": {name: run.network for name, run in first.items()},
    }
    return transfer, facts
