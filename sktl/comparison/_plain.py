"""A comparison in plain Python and as a data frame, for JSON and for pandas."""

from dataclasses import asdict

from sktl._costs import COSTS
from sktl.comparison.plain_python import as_plain
from sktl.displays.verdicts import sentence

__all__ = ["content_of", "fits_of"]


def fits_of(comparison):
    """Return every fit as a dictionary: where it stands, its scores and its costs."""
    n_train, n_test = comparison.n_train.tolist(), comparison.n_test.tolist()
    return [
        {
            "candidate": name,
            "split": run.split,
            "seed": comparison.seeds[run.split],
            "n_train": n_train[run.split],
            "n_test": n_test[run.split],
            "score": run.scores[comparison.scoring],
            **{cost: getattr(run, cost) for cost in COSTS},
            **run.scores,
        }
        for name in comparison.candidates
        for run in comparison.runs_of(name)
    ]


def content_of(comparison):
    """Return everything but predictions and histories as JSON can write it; what is not finite becomes None."""
    failures = [{"candidate": run.candidate, "split": run.split, "error": run.error} for run in comparison.failures]
    content = {
        "verdict": comparison.verdict,
        "sentence": sentence(comparison),
        "notes": comparison.notes(),
        "baseline": comparison.baseline,
        "baseline_at_chance": comparison.baseline_at_chance,
        "scoring": comparison.scoring,
        "rope": comparison.rope,
        "candidates": [asdict(row) for row in comparison.rows()],
        "splits": {"n_train": comparison.n_train, "n_test": comparison.n_test, "seeds": comparison.seeds},
        "scores": comparison.scores,
        "metrics": {metric: comparison.scores_of(metric) for metric in comparison.metrics},
        "failures": failures,
        "bad_images": [{"index": bad.index, "path": bad.path, "reason": bad.reason} for bad in comparison.bad_images],
        "group_gap": None if comparison.group_gap is None else asdict(comparison.group_gap),
        "settings": comparison.settings,
    }
    return as_plain(content)
