"""What stands on top of every form of a comparison: the verdict in a sentence, its colour, and what was compared."""

from sktl._candidate_names import CHANCE_LEVEL
from sktl._text import digits_for, number

__all__ = ["about", "interval", "is_off_zero", "notes_on_groups", "sentence", "tone"]

TONES = {
    **dict.fromkeys(("transfer helps", "better"), "good"),
    **dict.fromkeys(("negative transfer", "worse"), "bad"),
    "practically equal": "even",
    "undecided": "open",
}


def tone(comparison):
    """Return "good", "bad", "even" or "open", which forms show as a colour."""
    plain = TONES[comparison.verdict]
    return "open" if comparison.baseline_at_chance and plain != "bad" else plain


def sentence(comparison):
    """Say the verdict in one sentence, with both scores; and that the baseline learned nothing, where that is so."""
    row, digits = comparison.headline, digits_for(comparison.scores.values())
    means = {name: number(values.mean(), digits=digits) for name, values in comparison.scores.items()}
    even = "even " if row.verdict == "negative transfer" and sum(comparison.transfer.values()) > 1 else ""
    at_chance = comparison.baseline_at_chance
    against = ", against a baseline not clearly better than chance" if at_chance else ""
    return (
        f"{row.verdict.capitalize()}{against}: {even}{row.candidate!r} scores {means[row.candidate]} in "
        f"{comparison.scoring}, {_difference(row, comparison.baseline, means, digits)}{_ending(row, comparison)}."
        f"{f' {CHANCE_LEVEL!r} scores {means[CHANCE_LEVEL]}.' if at_chance else ''}"
    )


def _difference(row, baseline, means, digits):
    much, none = (number(abs(value), digits=digits) for value in (row.difference, 0.0))
    known = "" if row.low != row.low else f" (95 % interval {interval(row.low, row.high, digits)})"
    if much == none:
        return f"the same as {baseline!r}{known}"
    return f"{much} {'higher' if row.difference > 0 else 'lower'}{known} than {baseline!r} with {means[baseline]}"


def _ending(row, comparison):
    """Say what makes the verdict, where the numbers alone do not."""
    within = f"within ±{comparison.rope:g}"
    if comparison.n_splits > 1 and row.low != row.low:
        return " on every split, which does not tell how far chance could move it"
    if row.verdict == "practically equal":
        return f", which is {within} and makes no difference in practice"
    if row.verdict != "undecided":
        return ""
    if is_off_zero(row):
        return f": more than chance, and {within}, though it may be beyond"
    return ", which may be chance"


def is_off_zero(row):
    """Whether the interval of a difference leaves out zero."""
    return row.low is not None and (row.low > 0 or row.high < 0)


def interval(low, high, digits=3):
    """Write an interval with the signs of its ends."""
    low, high = (number(end, sign=True, digits=digits) for end in (low, high))
    return "–" if low == "–" else f"{low} to {high}"


def about(comparison):
    """Say what was compared on: the folder, images, classes, splits, and the network."""
    settings = comparison.settings
    n_images = settings.get("n_images", len(comparison.y))
    images = f"{n_images:,} images"
    if settings.get("task") != "regression":
        images += f" in {len(set(comparison.y.tolist())):,} classes"
    networks = settings.get("networks", {})
    names = [network["name"] for name in comparison.candidates if (network := networks.get(name))]
    parts = [settings.get("data"), images, ", ".join(dict.fromkeys(names)), _splits(comparison)]
    if (comparison.n_train + comparison.n_test < n_images).all():  # some of the rest
        parts.append(f"{comparison.n_train.mean():,.0f} to learn from")
    return " · ".join(part for part in parts if part)


def _splits(comparison):
    repeats = comparison.settings.get("n_repeats", 1)
    if repeats > 1:
        return f"{comparison.n_splits // repeats} folds, drawn {repeats} times"
    return f"{comparison.n_splits} folds" if comparison.n_splits > 1 else "1 split"


def notes_on_groups(comparison):
    """Say which groups the files suggest where none were passed, and what folds that ignore groups score."""
    suggested, gap = comparison.settings.get("suggested_groups"), comparison.group_gap
    notes = [suggested] if suggested else []
    if gap is None:
        return notes
    digits = digits_for([[gap.plain, gap.grouped]])
    plain, grouped, much = (number(value, digits=digits) for value in (gap.plain, gap.grouped, abs(gap.difference)))
    known = "" if gap.low is None else f" (95 % interval {interval(gap.low, gap.high, digits)})"
    given = {"groups": "the groups", "near copies": "near copies"}
    leak = "would have been" if gap.source in given else "may be"
    is_more = gap.difference > comparison.rope if gap.low is None else gap.low > 0
    other = "" if gap.source in given else " Both kinds of folds were drawn for this: the scores above are of others."
    return [
        *notes,
        f"Folds that ignore {given.get(gap.source, f'groups by {gap.source}')} give {gap.candidate!r} {plain} in "
        f"{comparison.scoring}, {much} {'lower' if gap.difference < 0 else 'higher'} than {grouped} with groups kept "
        f"together{known}: {f'that much {leak} a leak' if is_more else 'no clear leak'}.{other}",
    ]
