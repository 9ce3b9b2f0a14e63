"""What a reader of the numbers should know besides, one sentence each."""

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL, PIXELS
from sktl._statistics import (
    correlated_t_probabilities,
    decide,
    differences_of,
    images_to_settle,
    repeats_to_settle,
    spread_is_zero,
)
from sktl._text import first_of
from sktl.comparison._networks import BROUGHT_ALONG

__all__ = ["make_notes"]

FEW_SPLITS = 5  # fewer than these get a note


def make_notes(comparison):
    """Say what a reader of the numbers should know."""
    notes = [*_failures(comparison), *_bad_images(comparison), *_splits(comparison)]
    if warning := comparison.settings.get("photographs"):
        notes.insert(0, warning)
    if warning := comparison.settings.get("near_duplicates"):
        notes.append(warning)
    if unknown := _with_unknown_weights(comparison):
        notes.append(
            f"The network of {', '.join(map(repr, unknown))} came with its weights, and nothing shows how they "
            "came about: the verdict takes them for pretrained."
        )
    if _is_no_better(comparison, CHANCE_LEVEL):
        notes.append(
            f"{comparison.headline.candidate!r} is not clearly better than chance level ({CHANCE_LEVEL!r}), so the "
            f"comparison with {comparison.baseline!r} means little."
        )
    elif _is_no_better(comparison, PIXELS):
        notes.append(
            f"{comparison.headline.candidate!r} is not clearly better than a linear model on small pictures "
            f"({PIXELS!r}), which needs no network."
        )
    if comparison.headline.verdict == "undecided" and (advice := _advice(comparison)):
        notes.append(advice)
    return notes


def _failures(comparison):
    n_splits = comparison.n_splits
    return [
        f"Candidate {run.candidate!r} failed on split {run.split + 1} of {n_splits} and is left out: {run.error}"
        for run in comparison.failures
    ]


def _bad_images(comparison):
    bad = comparison.bad_images
    if not bad:
        return []
    return [f"{len(bad):,} of {len(comparison.y):,} images could not be read and are left out: {first_of(bad)}."]


def _splits(comparison):
    n_splits = comparison.n_splits
    if n_splits < 2:
        return ["One split says nothing about the spread, so there is no interval: use cv=5."]
    notes = []
    if n_splits < FEW_SPLITS:
        notes.append(f"Only {n_splits} splits: the intervals are wide and rough; cv=5 is better.")
    others = [name for name in comparison.candidates if name != comparison.baseline]
    if same := [name for name in others if spread_is_zero(comparison.differences(name))]:
        notes.append(
            f"The difference of {', '.join(map(repr, same))} to the baseline is the same on every split, so its "
            "spread cannot be estimated: there is no interval and no verdict. Small test folds do that; more "
            "images tell more."
        )
    return notes


def _with_unknown_weights(comparison):
    networks = comparison.settings.get("networks", {})
    return [
        name
        for name in comparison.candidates
        if comparison.transfer[name] and (networks.get(name) or {}).get("weights") == BROUGHT_ALONG
    ]


def _is_no_better(comparison, simple):
    best, scores = comparison.headline.candidate, comparison.scores
    if simple not in scores or simple in (best, comparison.baseline) or comparison.n_splits < 2:
        return False
    gain = differences_of(scores[best], scores[simple])
    if spread_is_zero(gain):
        return bool(gain.mean() <= comparison.rope)
    probabilities = correlated_t_probabilities(gain, comparison.n_train, comparison.n_test, comparison.rope)
    return decide(probabilities) != "better"


def _advice(comparison):
    """How many images, or repeats, would settle it, in words; None where the spread is not known."""
    known = comparison.differences(comparison.headline.candidate), comparison.n_train, comparison.n_test
    factor = images_to_settle(*known, comparison.rope)
    if not factor > 1:
        return None
    n_images = int(np.mean(comparison.n_train + comparison.n_test))
    if np.isinf(factor):
        images = f"more than 100 times the {n_images:,} images"
    else:
        needed = float(f"{factor * n_images:.2g}")
        images = f"about {needed:,.0f} images (now {n_images:,})"
    return f"What would settle it: {images}{_repeats(comparison, known)}, if the difference stays as it is."


def _repeats(comparison, known):
    n_repeats = comparison.settings.get("n_repeats", 1)
    factor = repeats_to_settle(*known, comparison.rope)
    if np.isinf(factor):
        return ", and no number of repeats will"
    if not comparison.settings.get("cv", "5").isdigit():  # a splitter, which n_repeats does not go with
        kind = "RepeatedKFold" if comparison.settings.get("task") == "regression" else "RepeatedStratifiedKFold"
        named = "" if comparison.settings.get("groups") else f" ({kind})"
        return f", or more repeats{named}, about {int(np.ceil(factor)):,} times as many splits"
    return f", or n_repeats={int(np.ceil(factor * n_repeats))} (now {n_repeats})"
