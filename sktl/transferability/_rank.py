"""rank_backbones: which of several pretrained networks suits these images, on the same folds."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._splits import fixed_random_state
from sktl._targets import check_data
from sktl._validation import Interval, validate_params
from sktl.comparison import compare_transfer
from sktl.comparison.recorded_call import recorded_call
from sktl.feature_extraction.frozen_pipeline import KeptSeed, frozen_pipeline
from sktl.images import read_once
from sktl.transferability._chosen_score import corrected_for_choice, main_scorer
from sktl.transferability._finalists import check_names, choose_finalists, fine_tune
from sktl.transferability._leading_group import best_of
from sktl.transferability._measuring import measure_networks
from sktl.transferability._networks import control_network, named_networks
from sktl.transferability._ranking import BackboneRanking

if TYPE_CHECKING:
    import os

    from numpy.random import RandomState
    from numpy.typing import ArrayLike


__all__ = ["rank_backbones"]


@validate_params(
    {"finalists": [Interval(Integral, 0, None, closed="left")], "random_state": ["random_state"]},
    prefer_skip_nested_validation=False,
)
def rank_backbones(
    X: Any,
    y: ArrayLike,
    backbones: Any,
    *,
    task: Literal["auto", "classification", "regression"] = "auto",
    cv: Any = 5,
    n_repeats: int = 1,
    groups: ArrayLike | None = None,
    scoring: Any = None,
    image_size: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    finalists: int = 0,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    n_jobs: int | None = None,
    random_state: int | RandomState | None = 0,
    duplicates: Literal["warn", "ignore", "group"] = "warn",
    on_bad_image: Literal["raise", "skip"] = "raise",
    resume: str | os.PathLike[str] | None = None,
    on_error: Literal["warn", "raise"] = "warn",
    verbose: int = 0,
) -> BackboneRanking:
    """Rank pretrained networks by what their features score on your images, on the same folds.

    Every image goes through each network once; a linear model on the features is scored on every split, as the
    candidate ``"frozen"`` of :func:`~sktl.compare_transfer` is. The answer is the leader, which scores best, the
    leading group, which holds all networks that these images cannot tell from it, and the one to take: of the group's
    networks within 0.01 of the leader the one with the fewest seconds per image. Controls are always beside them: small
    pictures without a network, and random weights.

    Parameters
    ----------
    X : sequence of images of length n_images
        Paths, PIL images, arrays of shape (H, W), (H, W, C) or (C, H, W), or anything else that sktl reads.
    y : array-like of shape (n_images,)
        Class labels, or numbers for regression.
    backbones : sequence, dict or "local"
        Networks: names, modules, Backbone records or fitted estimators, as `load_backbone` takes them; a dictionary
        gives them names of your own. ``"local"`` takes all whose weights are on this machine, without a download.
    task : {"auto", "classification", "regression"}, default="auto"
        What `y` is; as in :func:`~sktl.compare_transfer`, like all that follows.
    cv : int, splitter or iterable of (train, test), default=5
        The splits, made once and shared by all networks; an int is a number of folds.
    n_repeats : int, default=1
        How many times the folds are drawn anew, when `cv` is an int.
    groups : array-like of shape (n_images,), default=None
        Images of one group never lie on both sides of a split.
    scoring : str, callable, sequence of str or dict of str to (str or callable), default=None
        One or several scikit-learn scorers, of which the first ranks; accuracy or R² when None.
    image_size : int, default=None
        Side in pixels that images are brought to for all networks; None leaves each the size that its weights were
        trained with.
    image_shape : tuple of int, default=None
        Shape of the images when `X` holds flattened ones.
    value_range : tuple of two float, default=None
        Values of black and white in float images, when they are not in [0, 1].
    finalists : int, default=0
        So many networks are fine-tuned as well, on the same folds: the best by score, then the best of the others by
        published accuracy on ImageNet-1k, then the next ones by score. 2 is a good number [1]_.
    batch_size : int, default=32
        Images per step.
    device : str, default="auto"
        Where to compute.
    precision : str, default="auto"
        Number format of the computation.
    n_jobs : int, default=None
        Number of fits run at once. The scores do not depend on it.
    random_state : int, RandomState or None, default=0
        Splits, fits and random weights get seeds derived from this.
    duplicates : {"warn", "ignore", "group"}, default="warn"
        What to do about near copies of one image on both sides of a split.
    on_bad_image : {"raise", "skip"}, default="raise"
        What to do with images that cannot be read.
    resume : str or Path, default=None
        File in which every finished fit is kept at once; a later call takes them from there.
    on_error : {"warn", "raise"}, default="warn"
        Whether a network that fails is left out with a warning, or ends the ranking.
    verbose : int, default=0
        If positive, one line per fit.

    Returns
    -------
    BackboneRanking
        Print it for the answer; `frame`, `plot` and `report` have the rest.

    Raises
    ------
    TypeError
        If `backbones` is a single network, or one of them is no network.
    ValueError
        If a name is unknown or stands there twice, no network is on this machine, and as
        :func:`~sktl.compare_transfer`.
    BadImagesError
        If images cannot be read, unless they are to be left out.
    RuntimeError
        If all networks fail.
    OSError
        If the file `resume` cannot be read or written.

    Warns
    -----
    CandidateFailedWarning
        If a network, or a finalist that was fine-tuned, failed and was left out.
    NearDuplicatesWarning
        If near copies of one image lie on both sides of a split.
    PhotographsWarning
        If the bundled network is shown photographs, once in a process.

    See Also
    --------
    BackboneRanking : What is returned.
    sktl.compare_transfer : Whether transfer is worth it, with one network.

    Notes
    -----
    A network is in the leading group unless the interval of its difference to the leader leaves out zero. The leader
    was chosen for being the best, so these intervals are widened for the number of all pairs of networks (Bonferroni);
    see `interval` of :func:`~sktl.compare_transfer` for what they are about.
    The control ``"frozen_random"`` is the first of the networks that has pretrained weights, with random ones, drawn
    once for all splits: put a fast one first.
    Seconds per image are measured after the fits, on a few images, from the file to the vector, in one process; on an
    accelerator, on a batch. 1-NN and LogME are of at most 5,000 images, at even distances.
    The networks are fitted one after the other, on all splits, so that no more than a few are in memory.

    References
    ----------
    .. [1] C. Renggli, A. S. Pinto, L. Rimanic, J. Puigcerver, C. Riquelme, C. Zhang and M. Lucic, "Which model to
           transfer? Finding the needle in the growing haystack", CVPR 2022, :arxiv:`2010.06402`.
    .. [2] I. Tsamardinos, E. Greasidou and G. Borboudakis, "Bootstrapping the out-of-sample predictions for efficient
           and accurate cross-validation", Machine Learning 107, 1895-1922, 2018, :doi:`10.1007/s10994-018-5714-4`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import rank_backbones
    >>> from sktl.backbones import load_backbone
    >>> X, y = load_digits(return_X_y=True)
    >>> networks = {"fractals": "tiny_fractal", "random": load_backbone("tiny_fractal", weights=None)}
    >>> ranking = rank_backbones(X[:80], y[:80], networks, cv=3, value_range=(0, 16))
    >>> ranking.networks
    ['fractals', 'random']
    """
    given = dict(locals())
    networks, left_out = named_networks(backbones)
    check_names(networks)
    X, (y, task) = read_once(X), check_data(X, y, groups, task)
    random_state = fixed_random_state(random_state)
    reading = {"image_size": image_size, "image_shape": image_shape, "value_range": value_range}
    shared: dict[str, Any] = {**reading, "batch_size": batch_size, "device": device, "precision": precision}
    running = {"scoring": scoring, "n_jobs": n_jobs, "resume": resume, "on_error": on_error, "verbose": verbose}
    control = control_network(networks)
    comparison = compare_transfer(
        X,
        y,
        candidates=_candidates(networks, control, task, random_state, shared),
        # A record, and not a name: vectors of the bundled network, which near copies are found by, are then stored.
        backbone=control or "tiny_fractal",
        baseline=CHANCE_LEVEL,
        task=task,
        cv=cv,
        n_repeats=n_repeats,
        groups=groups,
        random_state=random_state,
        duplicates=duplicates,
        on_bad_image=on_bad_image,
        **running,
        **shared,
    )
    networks = {name: networks[name] for name in networks if name in comparison.candidates}
    if not networks:
        raise RuntimeError(f"All networks failed. The first one says: {comparison.failures[0].error}")
    call = recorded_call(given | {"random_state": random_state}, signature(rank_backbones).parameters)
    call |= {"function": "rank_backbones", "part": ".comparison"}
    settings = {**comparison.settings, "call": call, "control": control and control.name}
    comparison = replace(comparison, baseline=best_of(comparison, networks), settings=settings)
    measures = measure_networks(comparison, X, networks, verbose=verbose, **shared)
    finals = choose_finalists(comparison, measures, finalists)
    if finals:
        comparison = fine_tune(comparison, X, {name: networks[name] for name in finals}, shared, **running)
    corrected = corrected_for_choice(comparison, list(networks), main_scorer(scoring, comparison), comparison.groups)
    return BackboneRanking(comparison, measures, corrected, finals, left_out)


def _candidates(networks, control, task, seed, shared):
    """Make the candidates: controls, and a linear model on the features of each network."""
    frozen = {name: frozen_pipeline(task, backbone=backbone, **shared) for name, backbone in networks.items()}
    if control is not None:
        # One draw for all splits: an image goes through the network once.
        twin = frozen_pipeline(task, backbone=control, weights=None, random_state=KeptSeed(seed), **shared)
        frozen = {RANDOM_WEIGHTS: twin, **frozen}
    return {CHANCE_LEVEL: CHANCE_LEVEL, PIXELS: PIXELS, **frozen}
