"""What groups are worth: a candidate that trains no network, on folds that keep them together and that ignore them.

No image goes through the network anew: its features are in the store by then.
"""

import warnings

import numpy as np
from scipy import stats
from sklearn.utils import column_or_1d

from sktl._candidate_names import CHANCE_LEVEL
from sktl._splits import make_splits
from sktl.comparison._candidates import tier_of
from sktl.comparison._execution import run_all
from sktl.comparison._progress import announced
from sktl.comparison._records import GroupGap
from sktl.near_duplicates import suggested_groups
from sktl.near_duplicates.suggestion import find_suggestion
from sktl.store import open_store

__all__ = ["Grouping"]

CONFIDENCE = 0.95


class Grouping:
    """The groups of a comparison: where they come from, and what the files suggest where none were passed."""

    def __init__(self, X, y, task, groups, together, verbose=0):
        self._X, self._y, self._task, self._together = X, y, task, together
        found = None if groups is not None else find_suggestion(X, _classes(y, task))
        self.note = None if found is None else _note(found)
        if self.note and verbose:
            print(f"Note: {self.note}", flush=True)
        self._source = None if found is None else found.by
        if together is not None:
            self._source = "near copies" if groups is None else "groups"

    def measured(self, *fits_and_how):
        """Return what the record of a comparison says of groups: their numbers, and what they are worth, if wanted."""
        groups = None if self._together is None else _numbered(column_or_1d(self._together).tolist())
        return {"groups": groups, "group_gap": self._gap(*fits_and_how) if fits_and_how else None}

    def _gap(self, runs, estimators, recipes, splits, seeds, left_out, drawing, running):
        """Score one candidate on folds that ignore the groups that there are, or those suggested, and that keep them.

        None where there are none, images are not tested equally often, or no candidate does without training a network.
        """
        scoring, n_folds = next(iter(running["scorers"])), _n_folds(splits)
        name = _candidate(runs, estimators, recipes, scoring, len(splits))
        if name is None or self._source is None or not n_folds:
            return None
        X, y, classes = self._X, self._y, _classes(self._y, self._task)
        alone = running | {"baseline": name, "verbose": 0, "seeds": seeds[:n_folds]}
        try:
            groups = suggested_groups(X, classes, by=self._source) if self._together is None else self._together
            groups = column_or_1d(groups)
            if len(np.unique(groups)) == len(y):
                return None
            with announced(f"Scoring {name!r} on folds with and without groups", running["verbose"]):
                own = [run for run in runs if run.candidate == name]
                if self._together is None:
                    splits = _grouped(X, y, groups, n_folds, left_out, drawing)
                    own = run_all({name: estimators[name]}, X, y, splits=splits, **alone)
                plain = _shuffled(splits[:n_folds], classes, drawing["random_state"])
                found = run_all({name: estimators[name]}, X, y, splits=plain, **alone)
        except (ValueError, RuntimeError):  # a class has too few groups for so many folds, or some fold has no score
            return None
        return _compared(name, self._source, [(found, plain), (own, splits)], y, groups, scoring)


def _numbered(groups):
    """Give groups of any kind numbers, in the order in which they appear."""
    numbers: dict = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])


def _note(found):
    return (
        f"{found.words}. If these are of one patient, animal or scene, every candidate may look better than it is: "
        f"pass groups=suggested_groups(X, y, by={found.by!r}), which is in sktl.near_duplicates (in a command, "
        f"--groups {found.by})."
    )


def _classes(y, task):
    return y if task == "classification" else None


def _n_folds(splits):
    """How many splits test every image once; 0 where the first ones do not."""
    n_images, seen = len(np.unique(np.concatenate([test for _, test in splits]))), set()
    for number, (_, test) in enumerate(splits, 1):
        if not seen.isdisjoint(test.tolist()):
            return 0
        seen.update(test.tolist())
        if len(seen) == n_images:
            return number if number > 1 else 0
    return 0


def _candidate(runs, estimators, recipes, scoring, n_splits):
    """Choose the frozen recipe, or the best of those that train no network and need no image to go through it anew."""
    scores = {}
    for name, estimator in estimators.items():
        own = [run for run in runs if run.candidate == name and run.error is None]
        if len(own) < n_splits or (any(run.n_images_through_network for run in own) and not _is_stored(estimator)):
            continue
        if tier_of(estimator) < 2 and CHANCE_LEVEL not in (name, recipes[name]):
            scores[name] = np.mean([run.scores[scoring] for run in own])
    return next((name for name in scores if recipes[name] == "frozen"), max(scores, key=scores.get, default=None))


def _is_stored(estimator):
    """Whether the store keeps what the networks of an estimator compute, however many of its fits ran at once."""
    caches = [part.cache for part in (estimator, *estimator.get_params(deep=True).values()) if hasattr(part, "cache")]
    return bool(caches) and all(open_store(cache) is not None for cache in caches)


def _grouped(X, y, groups, n_folds, left_out, drawing):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of small classes, as the folds themselves warned
        drawn = drawing | {"cv": n_folds, "n_repeats": 1}
        return make_splits(X, y, groups=groups, left_out=left_out, **drawn)


def _shuffled(splits, classes, seed):
    """Let images of one class change places, so that folds ignore groups and have the same sizes and shares of classes.

    Folds that keep groups together are less even, which alone would lower the score.
    """
    images, generator = np.unique(np.concatenate([test for _, test in splits])), np.random.default_rng(seed)
    strata = np.zeros(len(images), dtype=int) if classes is None else np.unique(classes[images], return_inverse=True)[1]
    place = np.arange(1 + max(part.max() for split in splits for part in split))  # some may be for training alone
    for stratum in np.unique(strata):
        place[images[strata == stratum]] = generator.permutation(images[strata == stratum])
    return [(np.sort(place[train]), np.sort(place[test])) for train, test in splits]


def _compared(name, source, kinds, y, groups, scoring):
    """Compare the scores of plain and grouped folds; for accuracy with an interval over the groups."""
    means = [float(np.mean([run.scores[scoring] for run in runs])) for runs, _ in kinds]
    difference, low, high = means[0] - means[1], None, None
    if scoring == "accuracy" and all(run.predicted is not None for runs, _ in kinds for run in runs):
        plain, grouped = (_right(*kind, y) for kind in kinds)
        half = _half_width(plain - grouped, groups)
        low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return GroupGap(name, source, *means, difference, low, high)


def _right(runs, splits, y):
    """How often each image was predicted correctly; NaN where it was never tested."""
    right, times = np.zeros(len(y)), np.zeros(len(y))
    for run in runs:
        test = splits[run.split][1]
        right[test] += y[test] == np.array(run.predicted, dtype=y.dtype)
        times[test] += 1
    return np.divide(right, times, out=np.full(len(y), np.nan), where=times > 0)


def _half_width(gain, groups):
    """Half the interval of a mean over images of which those of a group go together."""
    known = ~np.isnan(gain)
    _, numbers = np.unique(groups[known], return_inverse=True)
    sums = np.bincount(numbers, weights=gain[known] - gain[known].mean())
    error = np.sqrt(np.sum(sums**2) * len(sums) / max(1, len(sums) - 1)) / known.sum()
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, max(1, len(sums) - 1)) * error)
