"""What a reader of the numbers should know besides, one sentence each."""

from itertools import pairwise

import numpy as np

from sktl._text import first_of
from sktl.comparison._controls import note_on_baseline, note_on_pretraining, notes_on_simple_ones
from sktl.comparison._networks import BROUGHT_ALONG
from sktl.comparison.difference import mean_difference
from sktl.displays.verdicts import is_off_zero, notes_on_groups

__all__ = ["make_notes"]

FEW_SPLITS = 5  # fewer than these get a note


def make_notes(comparison):
    """Say what a reader of the numbers should know."""
    notes = [note_on_baseline(comparison)] if comparison.baseline_at_chance else []
    notes += [note for note in (comparison.settings.get("photographs"), note_on_pretraining(comparison)) if note]
    notes += [
        *_domains(comparison),
        *_failures(comparison),
        *_bad_images(comparison),
        *_splits(comparison),
        *_off_zero(comparison),
    ]
    if warning := comparison.settings.get("near_duplicates"):
        notes.append(warning)
    notes += notes_on_groups(comparison)
    notes += _copies_of_several_classes(comparison)
    if unknown := _with_unknown_weights(comparison):
        notes.append(
            f"The network of {', '.join(map(repr, unknown))} came with its weights, and nothing shows how they "
            "came about: the verdict takes them for pretrained."
        )
    notes += notes_on_simple_ones(comparison)
    if comparison.headline.verdict == "undecided" and (advice := _advice(comparison)):
        notes.append(advice)
    return notes


def _domains(comparison):
    domains = comparison.settings.get("domains")
    if not domains:
        return []
    seen = ", ".join(map(repr, domains["target_only"]))
    who = f"Its labels reach {seen} alone" if seen else "No candidate learns from its labels"
    return [
        f"All tests are on the {domains['n_target']:,} images of the target; the {domains['n_source']:,} of the source "
        f"are for training alone. {who}."
    ]


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
    if same := [row.candidate for row in comparison.rows() if row.low is not None and row.low != row.low]:
        notes.append(
            f"The difference of {', '.join(map(repr, same))} to the baseline is the same on every split, so its "
            "spread cannot be estimated: there is no interval and no verdict. Small test folds do that; more "
            "images tell more."
        )
    return notes


def _off_zero(comparison):
    """Say why an interval may leave out zero beside "undecided"; of the headline its sentence says it."""
    others = [row for row in comparison.rows() if row.candidate != comparison.headline.candidate]
    names = [row.candidate for row in others if row.verdict == "undecided" and is_off_zero(row)]
    if not names:
        return []
    return [
        f"The interval of {', '.join(map(repr, names))} leaves out zero, and the verdict is undecided all the same: "
        f"the difference is within ±{comparison.rope:g}, the region of practical equivalence (rope), and may be beyond."
    ]


def _copies_of_several_classes(comparison):
    if comparison.settings.get("task") == "regression":
        return []
    groups = comparison.settings.get("near_copies", [])
    pairs = [pair for group in groups if (pair := _of_two_classes(group, comparison.y))]
    if not pairs:
        return []
    one, other = (repr(copy["file"]) if copy["file"] else f"X[{copy['image']}]" for copy in pairs[0])
    have = "1 picture has near copies" if len(pairs) == 1 else f"{len(pairs):,} pictures have near copies"
    return [f"{have} with different labels, which cannot all be right: {one} and {other} for instance."]


def _of_two_classes(group, y):
    """Find two copies with different labels; None where all have one."""
    return next((pair for pair in pairwise(group) if len({y[copy["image"]] for copy in pair}) > 1), None)


def _with_unknown_weights(comparison):
    networks = comparison.settings.get("networks", {})
    return [
        name
        for name in comparison.candidates
        if comparison.transfer[name] and (networks.get(name) or {}).get("weights") == BROUGHT_ALONG
    ]


def _advice(comparison):
    """How many images, or repeats, would settle it, in words; None where the spread is not known."""
    known = mean_difference(comparison, comparison.headline.candidate, comparison.baseline)
    factor = known.images_to_settle(comparison.rope)
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
    factor = known.repeats_to_settle(comparison.rope)
    if np.isinf(factor):
        return ", and no number of repeats will"
    unknown = "whose worth one draw of the folds does not tell" if np.isnan(factor) else None
    if not comparison.settings.get("cv", "5").isdigit():  # a splitter, which n_repeats does not go with
        kind = "RepeatedKFold" if comparison.settings.get("task") == "regression" else "RepeatedStratifiedKFold"
        named = "" if comparison.settings.get("groups") else f" ({kind})"
        return f", or more repeats{named}, {unknown or f'about {int(np.ceil(factor)):,} times as many splits'}"
    if unknown:
        return f", or more repeats (n_repeats=3), {unknown}"
    return f", or n_repeats={int(np.ceil(factor * n_repeats))} (now {n_repeats})"
