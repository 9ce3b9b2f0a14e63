"""recommend_strategy: measure first what is cheap, and train only as long as that may still gain something."""

from __future__ import annotations

import time
from dataclasses import replace
from inspect import signature
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._splits import fixed_random_state
from sktl._validation import Interval, validate_params
from sktl.backbones import load_backbone
from sktl.comparison import compare_transfer
from sktl.comparison.further_candidates import with_candidates
from sktl.comparison.recorded_call import recorded_call
from sktl.exceptions import WeightsError
from sktl.images import read_once
from sktl.transferability._choosing import choose, peak_stage, quadrant_of
from sktl.transferability._chosen_score import corrected_for_choice, main_scorer
from sktl.transferability._costs import predict_costs
from sktl.transferability._probing import probed
from sktl.transferability._recommendation import StrategyRecommendation
from sktl.transferability._search import search_depths
from sktl.transferability._strategies import frozen_strategies, trained_strategies, used_as_it_is

if TYPE_CHECKING:
    import os

    from numpy.random import RandomState
    from numpy.typing import ArrayLike


__all__ = ["recommend_strategy"]

SIMPLE = (CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS, "frozen")


@validate_params({"budget": [Interval(Real, 0, None, closed="left")]}, prefer_skip_nested_validation=True)
def recommend_strategy(
    X: Any,
    y: ArrayLike,
    backbone: Any = "tiny_fractal",
    *,
    budget: float = 600,
    weights: Any = "default",
    task: Literal["auto", "classification", "regression"] = "auto",
    cv: Any = 5,
    n_repeats: int = 1,
    groups: ArrayLike | None = None,
    scoring: Any = None,
    rope: float = 0.01,
    max_epochs: int | Literal["auto"] = "auto",
    image_size: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    n_jobs: int | None = None,
    random_state: int | RandomState | None = 0,
    duplicates: Literal["warn", "ignore", "group"] = "warn",
    on_bad_image: Literal["raise", "skip"] = "raise",
    resume: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> StrategyRecommendation:
    """Measure which strategy a pretrained network is best used by: as it is, frozen, fine-tuned, or not at all.

    What is cheap comes first. One pass of all images gives the features of every stage, on which linear models tell
    where the information sits; pixels and random weights stand beside them, and so does the network on a quarter and on
    half of the labels. A few steps tell what it would cost to train one stage, two, four and so on, all stages, or all
    of them from scratch. Then that is done, one after the other, on the same folds, as long as the interval of what it
    gains does not leave out a gain beyond the rope, and the budget lasts.

    Parameters
    ----------
    X : sequence of images of length n_images
        Paths, PIL images, arrays, or anything else that sktl reads.
    y : array-like of shape (n_images,)
        Class labels, or numbers for regression.
    backbone : str, torch.nn.Module, Backbone or fitted estimator, default="tiny_fractal"
        The pretrained network.
    budget : float, default=600
        Seconds that the call may take. What is cheap is always done; a strategy is not trained where its folds are
        expected to take longer than what is left, and the result says what they would have taken.
    weights : str, path or weights, default="default"
        Its pretrained weights; not None.
    task : {"auto", "classification", "regression"}, default="auto"
        Whether `y` are classes or numbers.
    cv : int, splitter or iterable of (train, test), default=5
        The splits, made once; an int is a number of folds.
    n_repeats : int, default=1
        How many times the folds are drawn anew, when `cv` is an int. Intervals get narrower, and all takes longer.
    groups : array-like of shape (n_images,), default=None
        Images of one group never lie on both sides of a split.
    scoring : str, callable, sequence of str or dict of str to (str or callable), default=None
        One or several scikit-learn scorers, of which the first decides; accuracy or R² when None.
    rope : float, default=0.01
        Region of practical equivalence, in units of the score: what gains no more is not worth its cost.
    max_epochs : int or "auto", default="auto"
        Training budget of every strategy that trains.
    image_size : int, default=None
        Side length in pixels that images are brought to, instead of the one the weights were trained with.
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
        Number of fits run at once, by joblib; None is 1.
    random_state : int, RandomState or None, default=0
        Splits and fits get seeds of their own, derived from this, as in :func:`~sktl.compare_transfer`.
    duplicates : {"warn", "ignore", "group"}, default="warn"
        Whether to look for near copies of one image on both sides of a split, or to keep them on one side.
    on_bad_image : {"raise", "skip"}, default="raise"
        Whether images that cannot be read end the call, or are left out.
    resume : str or Path, default=None
        File in which every finished fit is kept at once; a later call with the same arguments and a larger budget goes
        on from there.
    verbose : int, default=0
        If positive, one line per fit of what trains.

    Returns
    -------
    StrategyRecommendation
        Print it for the answer and what it rests on; `to_estimator` makes the unfitted estimator.

    Raises
    ------
    TypeError
        If `X` is a single path or text.
    ValueError
        If `budget` is negative, the network, its weights or the device are not to be had, the weights are random ones,
        and as :func:`~sktl.compare_transfer`.
    BadImagesError
        If images cannot be read, unless they are to be left out.
    RuntimeError
        If the linear model on the frozen network fails.
    OSError
        If the file `resume` cannot be read or written.

    Warns
    -----
    CandidateFailedWarning
        If a strategy failed and was left out.
    NearDuplicatesWarning
        If near copies of one image lie on both sides of a split.
    PhotographsWarning
        If the bundled network is shown photographs, once in a process.

    See Also
    --------
    StrategyRecommendation : What is returned.
    sktl.compare_transfer : Whether transfer is worth it, against training from scratch.

    Notes
    -----
    Strategies are named as candidates of a comparison: ``"as_it_is"``, the network's own classes, where all labels are
    names of these; ``"frozen"``, the candidate of :func:`~sktl.compare_transfer`; ``"frozen_STAGE_POOLING"``, the same
    on other features; ``"fine_tuned_DEPTH"``; and ``"from_scratch"``.

    The cheapest strategy that the data do not tell from the best is recommended: the interval of its difference to the
    best includes zero, or its score lies within `rope` of the best. Of the frozen ones that is the one with all stages,
    unless another is clearly better, corrected for their number by Holm's method: the best of many is so by chance.
    Training from scratch is not tried where pretrained features are clearly better than those of random weights. The
    search over depths goes on at least until it trains the stage that has the best features of its own.

    Intervals are those of the comparison. The best score was chosen on the folds that it was measured on; `corrected`
    has what remains of it [1]_.

    The textbook's rule [2]_ is printed for comparison. What it calls similar is measured by what pretraining adds: the
    share of what pixels and random weights leave to be gained that frozen features gain.

    References
    ----------
    .. [1] I. Tsamardinos, E. Greasidou and G. Borboudakis, "Bootstrapping the out-of-sample predictions for efficient
           and accurate cross-validation", Machine Learning 107, 1895-1922, 2018, :doi:`10.1007/s10994-018-5714-4`.
    .. [2] A. Karpathy, "Transfer learning", notes of the course CS231n, Stanford University,
           https://cs231n.github.io/transfer-learning/.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.transferability import recommend_strategy
    >>> X, y = load_digits(return_X_y=True)
    >>> found = recommend_strategy(X[:40], y[:40] % 2, cv=2, budget=0, max_epochs=1, value_range=(0, 16))
    >>> found.recommended
    'frozen'
    >>> list(found.untried)
    ['fine_tuned_1', 'fine_tuned_2', 'fine_tuned_all', 'from_scratch']
    """
    given, end = dict(locals()), (start := time.perf_counter()) + budget
    X, random_state = read_once(X), fixed_random_state(random_state)
    record, can_start_anew = load_backbone(backbone, weights), _has_random_twin(backbone)
    network = {"backbone": backbone, "weights": weights, "image_size": image_size, "image_shape": image_shape}
    network |= {"value_range": value_range, "batch_size": batch_size, "device": device, "precision": precision}
    running = {"scoring": scoring, "resume": resume, "n_jobs": n_jobs, "verbose": verbose}
    comparison = compare_transfer(
        X,
        y,
        candidates=[name for name in SIMPLE if can_start_anew or name != RANDOM_WEIGHTS],
        baseline="frozen",
        task=task,
        cv=cv,
        n_repeats=n_repeats,
        groups=groups,
        rope=rope,
        random_state=random_state,
        duplicates=duplicates,
        on_bad_image=on_bad_image,
        **network,
        **running,
    )
    task = comparison.settings["task"]
    if own := used_as_it_is(comparison.y, record, **network):
        comparison = with_candidates(comparison, X, {own[0].name: own[0].estimator}, **running)
    frozen = frozen_strategies(task, record, **network)
    comparison, labels = probed(comparison, X, frozen, network=network, random_state=random_state, **running)
    trained = trained_strategies(task, record, max_epochs=max_epochs, can_start_anew=can_start_anew, **network)
    strategies = [*own, *frozen, *trained]
    costs = predict_costs(comparison, X, strategies, network)
    comparison, untried = search_depths(comparison, X, [*own, *frozen], trained, costs, end=end, **running)
    tried = [one.name for one in strategies if one.name in comparison.scores]
    corrected = corrected_for_choice(comparison, tried, main_scorer(scoring, comparison), comparison.groups)
    level = choose(comparison, strategies, {name: cost.fit for name, cost in costs.items()})
    comparison = _with_call(comparison, given | {"random_state": random_state})
    about = labels, quadrant_of(comparison), peak_stage(comparison, strategies), budget, time.perf_counter() - start
    return StrategyRecommendation(
        comparison, tuple(strategies), costs, level[0], tuple(level), untried, *about, corrected
    )


def _with_call(comparison, given):
    """Write down the call, as the Python that makes the comparison again."""
    call = recorded_call(given, signature(recommend_strategy).parameters)
    call |= {"function": "recommend_strategy", "part": ".comparison"}
    return replace(comparison, settings={**comparison.settings, "call": call})


def _has_random_twin(backbone):
    """Whether the same network can be made with random weights: not every function does so."""
    try:
        load_backbone(backbone, None)
    except (ValueError, TypeError, WeightsError):
        return False
    return True
