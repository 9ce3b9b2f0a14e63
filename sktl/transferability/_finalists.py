"""The finalists of a ranking: which networks are fine-tuned besides, and why; and their fits on the same folds."""

from dataclasses import replace

from sktl.comparison.further_candidates import with_candidates
from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor
from sktl.transferability._ranking import tuned_name

__all__ = ["check_names", "choose_finalists", "fine_tune"]


def check_names(networks):
    """Refuse a network with the name that another one has when it is fine-tuned."""
    for name in networks:
        if tuned_name(name) in networks:
            raise ValueError(
                f"backbones must not be called {tuned_name(name)!r} beside {name!r}, since that stands for the "
                "finalist. Choose another name."
            )


def choose_finalists(comparison, measures, n_finalists):
    """Choose the best by score, the best of the others by published accuracy, then the next by score: with reasons."""
    scores = comparison.scores
    left = sorted(measures, key=lambda name: (-scores[name].mean(), name != comparison.baseline))
    chosen: dict = {}
    while left and len(chosen) < n_finalists:
        name, reason = left[0], "best by score"
        known = [name for name in left if measures[name].top1 is not None]
        if len(chosen) == 1 and known:
            name = max(known, key=lambda name: measures[name].top1)
            reason = f"best of the others by published accuracy on ImageNet-1k, {measures[name].top1:.1f} %"
        elif chosen:
            reason = "next by score" + (", since no published accuracy is known" if len(chosen) == 1 else "")
        chosen[name] = reason
        left.remove(name)
    return chosen


def fine_tune(comparison, X, networks, shared, **running):
    """Add candidates to a comparison that are networks fine-tuned, their top stage as by default."""
    kind = FineTuneRegressor if comparison.settings["task"] == "regression" else FineTuneClassifier
    estimators = {tuned_name(name): kind(backbone, **shared) for name, backbone in networks.items()}
    extended = with_candidates(comparison, X, estimators, **running)
    return replace(extended, settings={**extended.settings, "call": comparison.settings["call"]})
