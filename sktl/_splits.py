"""Train/test splits, stratified subsets and seeds, drawn once and shared by everything that is compared."""

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils import check_random_state, column_or_1d

__all__ = ["fixed_random_state", "make_seeds", "make_splits", "nested_order", "splitter", "stratified_subset"]


def make_seeds(random_state, purpose, n_seeds):
    """Different seeds derived from one number, one for each split or repeat.

    A constant seed would make the folds agree about the luck of one initialisation, and tests on such folds find
    differences between a recipe and itself.
    """
    sequence = np.random.SeedSequence(random_state, spawn_key=(("shuffle", "fit").index(purpose),))
    return [int(word >> 1) for word in sequence.generate_state(n_seeds)]


def fixed_random_state(random_state):
    """Find the int that stands for `random_state`: itself, a draw from a generator, or fresh entropy for None."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def make_splits(X, y, *, cv, n_repeats, groups, task, random_state):
    """Make the (train, test) indices of all splits, once, as a list that every candidate shares."""
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        seeds = make_seeds(random_state, "shuffle", n_repeats)
        splitters = [splitter(int(cv), groups, task, seed) for seed in seeds]
    elif n_repeats != 1:
        raise ValueError(f"n_repeats must be 1 unless cv is an int. Got {n_repeats} instead, with cv={cv!r}.")
    else:
        splitters = [check_cv(cv, y, classifier=task == "classification")]
    pairs = [pair for splitter in splitters for pair in splitter.split(X, y, groups)]
    splits = [
        (_as_indices(train, len(y), number), _as_indices(test, len(y), number))
        for number, (train, test) in enumerate(pairs)
    ]
    if not splits:
        raise ValueError(f"cv must give at least one split. Got none from {cv!r} instead.")
    for number, (train, test) in enumerate(splits):
        if len(train) == 0 or len(test) == 0:
            raise ValueError(f"Every split must have images on both sides. Split {number} has none on one of them.")
        if len(shared := np.intersect1d(train, test)):
            raise ValueError(
                f"The test images of a split must not be among its training images. Split {number} shares "
                f"{len(shared)}, the first at index {shared[0]}."
            )
        if groups is not None:
            _check_groups(column_or_1d(groups), train, test, number)
    return splits


def _check_groups(groups, train, test, number):
    """Not every splitter heeds groups: a stratified one, for instance, takes them and passes over them."""
    known = set(groups[train].tolist())
    shared = [group for group in groups[test].tolist() if group in known]
    if shared:
        raise ValueError(
            f"Images of one group must not lie on both sides of a split. Split {number} has the group {shared[0]!r} on "
            "both. Pass an int as cv, or a splitter that keeps groups together: GroupKFold, StratifiedGroupKFold, "
            "GroupShuffleSplit or LeaveOneGroupOut."
        )


def splitter(n_splits, groups, task, seed):
    """Make the shuffled folds that suit a task: classes in the same shares, and groups kept together."""
    if groups is not None:
        kind = StratifiedGroupKFold if task == "classification" else GroupKFold
    else:
        kind = StratifiedKFold if task == "classification" else KFold
    return kind(n_splits, shuffle=True, random_state=seed)


def _as_indices(part, n_images, number):
    """Turn masks, lists and indices from the end into indices from 0, which can be compared."""
    part = np.asarray(part)
    if part.size == 0:
        return np.empty(0, dtype=np.intp)
    try:
        return np.arange(n_images)[part]
    except IndexError as error:
        raise ValueError(
            f"Every split must hold two masks or two sequences of indices of the {n_images} images. Got something else "
            f"in split {number} instead: {error}."
        ) from error


def stratified_subset(y, n_images, seed):
    """Choose so many images at random, with the same shares of classes; None takes all."""
    if n_images is None or n_images >= len(y):
        return np.arange(len(y))
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(y, return_counts=True)
    wanted = _shares(counts, n_images)
    parts = [
        rng.permutation(np.flatnonzero(y == label))[:number] for label, number in zip(classes, wanted, strict=True)
    ]
    return np.sort(np.concatenate(parts))


def _shares(counts, n_images):
    """Whole numbers of images per class, nearest to its share; at least one of each, if there are so many."""
    quotas = n_images * counts / counts.sum()
    least = int(n_images >= len(counts))
    wanted = np.maximum(np.floor(quotas).astype(int), least)
    while wanted.sum() < n_images:
        wanted[np.argmax(quotas - wanted)] += 1
    while wanted.sum() > n_images:  # small classes were given their one image: the others make room
        wanted[np.argmax(np.where(wanted > least, wanted - quotas, -np.inf))] -= 1
    return wanted


def nested_order(classes, seed):
    """Order images such that every beginning of the order is a stratified subset."""
    generator = np.random.default_rng(seed)
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    shuffled = generator.permutation(len(codes))
    rank = np.empty(len(codes), dtype=np.intp)  # of an image among those of its class
    for code in range(len(counts)):
        rank[shuffled[codes[shuffled] == code]] = np.arange(counts[code])
    # The image of rank r is due when the beginning holds r + 1/2 of the share of its class, the first of all at once.
    due = np.where(rank == 0, 0, (rank + 0.5) / counts[codes])
    ties = np.where(rank == 0, -counts[codes], generator.random(len(codes)))
    return np.lexsort((ties, due))
