"""label_efficiency: the same candidates on growing numbers of labels, and the same test images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sktl._splits import fixed_random_state, make_seeds, make_splits
from sktl._targets import check_data
from sktl.comparison import compare_transfer
from sktl.label_efficiency._result import LabelEfficiency
from sktl.label_efficiency._subsets import check_sizes, subset_splits

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from numpy.random import RandomState
    from numpy.typing import ArrayLike


__all__ = ["label_efficiency"]


def label_efficiency(
    X: Any,
    y: ArrayLike,
    *,
    sizes: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    backbone: Any = "tiny_fractal",
    weights: Any = "default",
    candidates: Sequence[str] | Mapping[str, Any] = ("frozen", "fine_tuned", "from_scratch"),
    baseline: str = "from_scratch",
    task: Literal["auto", "classification", "regression"] = "auto",
    cv: Any = 5,
    n_repeats: int = 1,
    groups: ArrayLike | None = None,
    scoring: str | Callable[..., Any] | None = None,
    unfreeze_depth: int | Literal["all"] = 1,
    max_epochs: int | Literal["auto"] = "auto",
    image_size: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    n_jobs: int | None = None,
    random_state: int | RandomState | None = 0,
    duplicates: Literal["warn", "ignore"] = "warn",
    resume: str | os.PathLike[str] | None = None,
    on_error: Literal["warn", "raise"] = "warn",
    verbose: int = 0,
) -> LabelEfficiency:
    """Compare candidates at growing numbers of labels, and count those that transfer saves.

    Inside the training images of every split, nested subsets are drawn: a smaller one is part of the larger ones, every
    class has its share and at least one image while there are labels enough. All sizes are scored on the same test
    images. Everything else is as in :func:`~sktl.compare_transfer`, which does the fits.

    Parameters
    ----------
    X : sequence of images of length n_images
        Whatever the candidates take.
    y : array-like of shape (n_images,)
        Class labels, or numbers for regression.
    sizes : sequence of int or float, default=(0.125, 0.25, 0.5, 1.0)
        Ints are numbers of labels, floats are fractions of the training images of a split. Put them close where the
        curves are steep; a doubling each time is a good start.
    backbone : str, torch.nn.Module, Backbone or fitted estimator, default="tiny_fractal"
        The pretrained network.
    weights : str, path or weights, default="default"
        Its pretrained weights.
    candidates : sequence of str or dict, default=("frozen", "fine_tuned", "from_scratch")
        Names of recipes, or a dictionary from names of your own to estimators or names of recipes, as for
        :func:`~sktl.compare_transfer`.
    baseline : str, default="from_scratch"
        The candidate whose labels are counted: how many it needs for the scores of the others.
    task : {"auto", "classification", "regression"}, default="auto"
        Whether `y` are classes or numbers.
    cv : int, splitter or iterable of (train, test), default=5
        The splits, made once; an int is a number of folds.
    n_repeats : int, default=1
        How many times the folds are drawn anew, when `cv` is an int.
    groups : array-like of shape (n_images,), default=None
        Images of one group never lie on both sides of a split. Subsets do not heed them: both patients of two may be in
        a subset with a few images each.
    scoring : str or callable, default=None
        A scikit-learn scorer, or several; curves are of the first. Accuracy or R² when None.
    unfreeze_depth : int or "all", default=1
        How many top stages ``"fine_tuned"`` trains.
    max_epochs : int or "auto", default="auto"
        Training budget of ``"fine_tuned"`` and ``"from_scratch"`` alike.
    image_size : int, default=None
        Side length in pixels that images are brought to.
    image_shape : tuple of int, default=None
        Shape of the images when `X` holds flattened ones.
    value_range : tuple of two float, default=None
        Values of black and white in float images, when they are not in [0, 1].
    batch_size : int, default=32
        Images per step.
    device : str, default="auto"
        Where to compute.
    precision : str, default="auto"
        Number format of the computation.
    n_jobs : int, default=None
        Number of fits run at once. The scores do not depend on it.
    random_state : int, RandomState or None, default=0
        Splits, subsets and fits get seeds of their own, derived from this.
    duplicates : {"warn", "ignore"}, default="warn"
        Whether to look for near copies of an image on both sides of a split.
    resume : str or path, default=None
        A file in which finished fits are kept; a later call takes them from there.
    on_error : {"warn", "raise"}, default="warn"
        Whether a candidate that fails is left out with a warning, or ends the call.
    verbose : int, default=0
        If positive, one line per fit. Splits are counted with their sizes: 5 splits at 4 sizes are 20.

    Returns
    -------
    LabelEfficiency
        Print it for the curves and the labels saved; `plot` draws them, `comparison_at` tells more of one size.

    Raises
    ------
    TypeError
        If `sizes` is no sequence, and as :func:`~sktl.compare_transfer`.
    ValueError
        If a size does not fit the training images of a split, two sizes are the same number of labels, and as
        :func:`~sktl.compare_transfer`.
    RuntimeError
        If the baseline fails, or fewer than two candidates are left.

    See Also
    --------
    LabelEfficiency : What is returned.
    sktl.compare_transfer : The comparison at one size, with a verdict.

    Notes
    -----
    Frozen features come from the embedding store: an image goes through the network once, for all sizes and splits.

    References
    ----------
    .. [1] C. Perlich, F. Provost and J. S. Simonoff, "Tree induction vs. logistic regression: a learning-curve
           analysis", JMLR 4, 211-255, 2003.
    .. [2] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 239-281, 2003,
           :doi:`10.1023/A:1024068626366`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktl.label_efficiency import label_efficiency
    >>> X, y = load_digits(return_X_y=True)
    >>> result = label_efficiency(
    ...     X[:90], y[:90], sizes=(15, 30, 1.0), cv=3, baseline="pixels", value_range=(0, 16),
    ...     candidates={"frozen": "frozen", "pixels": LogisticRegression(max_iter=1000)})
    >>> result.n_labels
    array([15., 30., 60.])
    >>> result.scores["frozen"].shape
    (3, 3)
    """
    sizes = check_sizes(sizes)
    labels, task = check_data(X, y, groups, task)
    seed = fixed_random_state(random_state)
    splits = make_splits(X, labels, cv=cv, n_repeats=n_repeats, groups=groups, task=task, random_state=seed)
    stratify = task == "classification"
    # Seeds after those of the fits, so that no subset is drawn with the numbers that a fit draws with.
    own_seeds = make_seeds(seed, "fit", (len(sizes) + 1) * len(splits))[-len(splits) :]
    sizes, nested = subset_splits(splits, labels, sizes, stratify=stratify, seeds=own_seeds)
    comparison = compare_transfer(
        X,
        y,
        backbone=backbone,
        weights=weights,
        candidates=candidates,
        baseline=baseline,
        task=task,
        cv=[pair for row in nested for pair in row],
        groups=groups,
        scoring=scoring,
        unfreeze_depth=unfreeze_depth,
        max_epochs=max_epochs,
        image_size=image_size,
        image_shape=image_shape,
        value_range=value_range,
        batch_size=batch_size,
        device=device,
        precision=precision,
        n_jobs=n_jobs,
        random_state=seed,
        duplicates=duplicates,
        resume=resume,
        on_error=on_error,
        verbose=verbose,
    )
    few = min(len(train) for row in nested for train, _ in row) < len(np.unique(labels)) if stratify else False
    own_settings = {"cv": repr(cv), "n_repeats": n_repeats, "fewer_labels_than_classes": few}
    return _collect(comparison, sizes, splits, own_settings)


def _collect(comparison, sizes, splits, own_settings):
    def by_size(values):
        return np.asarray(values).reshape(len(splits), len(sizes)).T

    return LabelEfficiency(
        scores={name: by_size(values) for name, values in comparison.scores.items()},
        sizes=sizes,
        n_train=by_size(comparison.n_train),
        n_all=np.array([len(train) for train, _ in splits]),
        n_test=np.array([len(test) for _, test in splits]),
        fit_seconds={name: by_size(values) for name, values in comparison.fit_seconds.items()},
        predict_seconds={name: by_size(values) for name, values in comparison.predict_seconds.items()},
        seeds=by_size(comparison.seeds),
        baseline=comparison.baseline,
        scoring=comparison.scoring,
        transfer={name: comparison.transfer[name] for name in comparison.candidates},
        failures={run.candidate: run.error for run in comparison.failures},
        settings=comparison.settings | own_settings,
        fits=comparison,
    )
