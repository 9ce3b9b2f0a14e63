"""What the simple candidates tell of the others: whether a baseline learned anything, and what pretraining adds."""

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._score_bounds import possible_difference
from sktl._statistics import differences_of
from sktl._text import digits_for, number
from sktl.comparison._per_image import image_interval
from sktl.comparison.difference import mean_difference
from sktl.displays.verdicts import interval

__all__ = ["has_network", "is_at_chance", "note_on_baseline", "note_on_pretraining", "notes_on_simple_ones"]


def is_at_chance(comparison, name):
    """Whether nothing shows that a candidate learned anything."""
    return _is_no_better(comparison, name, CHANCE_LEVEL)


def has_network(comparison, name):
    """Whether a candidate has a network, by the record of its fits, or by its name where there is none."""
    networks = comparison.settings.get("networks", {})
    return networks[name] is not None if name in networks else name not in (CHANCE_LEVEL, PIXELS)


def note_on_baseline(comparison):
    """Say that the baseline learned nothing, and how long it tried."""
    baseline, means = comparison.baseline, _means(comparison)
    return (
        f"The baseline {baseline!r} is not clearly better than chance level: {means[baseline]} in {comparison.scoring} "
        f"beside {means[CHANCE_LEVEL]} of {CHANCE_LEVEL!r}{_budget(comparison, baseline)}. A difference to it tells "
        "what the other candidate scores, and not what transfer is worth."
    )


def _budget(comparison, name):
    """Say how long a candidate trained; nothing where it did not train by epochs."""
    epochs = sorted({len(history) for history in comparison.histories(name) if history})
    if not epochs:
        return ""
    images = f"{int(np.mean(comparison.n_train)):,} images"
    spent = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    return f", after {spent} {'epoch' if spent == '1' else 'epochs'} on {images}: more epochs (max_epochs) may help"


def note_on_pretraining(comparison):
    """Say what pretraining alone is worth, where the difference to the baseline does not; None where it does."""
    headline, baseline = comparison.headline, comparison.baseline
    if not comparison.transfer[headline.candidate] or comparison.transfer[baseline] or baseline == RANDOM_WEIGHTS:
        return None
    lacks_network = not has_network(comparison, baseline)
    if not lacks_network and not comparison.baseline_at_chance:
        return None
    lacks = "has no network" if baseline in (CHANCE_LEVEL, PIXELS) else "has no network of sktl"
    why = f"{baseline!r} {lacks}, so the difference is that of a network and its pretraining together. "
    if RANDOM_WEIGHTS not in comparison.scores:
        advice = f"The candidate {RANDOM_WEIGHTS!r}, the frozen network with random weights, "
        return f"{why if lacks_network else ''}{advice}tells what pretraining alone adds."
    has_frozen = "frozen" in comparison.scores and comparison.transfer["frozen"]  # and it did not fail
    name = "frozen" if has_frozen else headline.candidate
    return (why if lacks_network else "") + _pretraining_alone(comparison, name)


def _pretraining_alone(comparison, name):
    means = _means(comparison)
    return (
        f"Pretraining alone: {name!r} scores {means[name]}, and {RANDOM_WEIGHTS!r}, with random weights instead, "
        f"{means[RANDOM_WEIGHTS]}: {_gain(comparison, name, RANDOM_WEIGHTS)}."
    )


def _gain(comparison, name, other):
    """Write the difference of two candidates with its interval, where that is known."""
    scores = comparison.scores
    digits, gain = digits_for(scores.values()), differences_of(scores[name], scores[other])
    low, high = possible_difference(comparison, mean_difference(comparison, name, other).interval())
    known = "" if low != low else f" (95 % interval {interval(low, high, digits)})"
    return f"{number(gain.mean(), sign=True, digits=digits)}{known}"


def notes_on_simple_ones(comparison):
    """Say which simple candidates the best one is not clearly better than; chance level alone, if it is among them."""
    best, means = comparison.headline.candidate, _means(comparison)
    if comparison.baseline != CHANCE_LEVEL and is_at_chance(comparison, best):
        return [
            f"{best!r} is not clearly better than chance level ({CHANCE_LEVEL!r}), so the comparison with "
            f"{comparison.baseline!r} means little."
        ]
    simple = {PIXELS: f"a linear model on small pictures ({PIXELS!r}), which needs no network"}
    if comparison.transfer[best]:
        random = f"the frozen network with random weights ({RANDOM_WEIGHTS!r}), which needs no pretraining"
        simple[RANDOM_WEIGHTS] = random
    return [
        f"{best!r} is {_standing(comparison, best, name)} {what}: {means[best]} beside {means[name]}, a difference of "
        f"{_gain(comparison, best, name)}."
        for name, what in simple.items()
        if name != comparison.baseline and _is_no_better(comparison, best, name)
    ]


def _standing(comparison, name, simple):
    is_worse = mean_difference(comparison, name, simple).verdict(comparison.rope) == "worse"
    return "worse than" if is_worse else "not clearly better than"


def _is_no_better(comparison, name, simple):
    """Whether nothing shows that a candidate is better than a simple one.

    That is less than a verdict asks for, which few splits seldom give: it is enough to be better over the images, or
    where predictions do not tell, which are about accuracy, on every split.
    """
    scores = comparison.scores
    if simple not in scores or simple == name or comparison.n_splits < 2:
        return False
    gain, found = differences_of(scores[name], scores[simple]), mean_difference(comparison, name, simple)
    if np.isnan(found.error):
        return bool(gain.mean() <= comparison.rope)
    if found.verdict(comparison.rope) == "better":
        return False
    _, low, _ = image_interval(comparison, name, simple)
    if low is not None and low == low and (low > 0 or comparison.scoring == "accuracy"):
        return not low > 0
    return not (gain > comparison.rope).all()


def _means(comparison):
    digits = digits_for(comparison.scores.values())
    return {name: number(values.mean(), digits=digits) for name, values in comparison.scores.items()}
