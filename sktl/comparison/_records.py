"""The records of a comparison, in plain Python: one fit, and one candidate summed up."""

from dataclasses import dataclass

__all__ = ["ComparisonRow", "FitRecord", "GroupGap"]


@dataclass(frozen=True)
class FitRecord:
    """One fit of one candidate on one split, in plain Python: it goes to JSON and back.

    Parameters
    ----------
    candidate : str
        Name of the candidate.
    split : int
        Number of the split, from 0.
    scores : dict of str to float
        By name of the metric; empty when it failed.
    fit_seconds, predict_seconds : float or None, default=None
        Time of the fit, and of predicting and scoring the test images; None when it failed.
    n_trained_parameters : int or None, default=None
        Parameters that were trained; None where the candidate does not tell.
    n_parameters : int or None, default=None
        Parameters of the network that the fitted candidate has to keep; None without a network.
    n_images_through_network : int or None, default=None
        Forward passes of images, in fit and predict together; None without a network, and where other processes or
        threads may have made some, as in a search with several jobs.
    peak_memory : int or None, default=None
        Highest resident memory of the process meanwhile, in bytes; None where it cannot be known.
    predicted : list or None, default=None
        For every test image of the split, in the order of its test indices.
    confidence : list of float or None, default=None
        Probability of the predicted class; None without predict_proba.
    history : list of dict or None, default=None
        One entry per epoch: "epoch", "train_loss", and where there "valid_loss", "valid_accuracy"; None without
        training by epochs.
    network : dict or None, default=None
        Name, weights, source, licence and digest of the network, and the side in pixels of what it sees.
    pretrained : bool or None, default=None
        Whether its weights were pretrained ones, found out on the first split.
    error : str or None, default=None
        Type and message of the error of a failed fit.

    See Also
    --------
    TransferComparison : Holds them, and what follows from them.

    Examples
    --------
    >>> from sktl.comparison import FitRecord
    >>> run = FitRecord("frozen", split=0, scores={"accuracy": 0.8}, fit_seconds=1.5, predict_seconds=0.2)
    >>> run.error is None
    True
    """

    candidate: str
    split: int
    scores: dict[str, float]
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    n_trained_parameters: int | None = None
    n_parameters: int | None = None
    n_images_through_network: int | None = None
    peak_memory: int | None = None
    predicted: list[bool | int | float | str] | None = None
    confidence: list[float] | None = None
    history: list[dict[str, float]] | None = None
    network: dict | None = None
    pretrained: bool | None = None
    error: str | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """One candidate of a comparison, summed up.

    Parameters
    ----------
    candidate : str
        Its name.
    mean, sd : float
        Mean of the score over the splits, and standard deviation over the splits (not a standard error).
    fit_seconds, predict_seconds : float
        Mean time per split, reading images and embedding them included.
    n_trained_parameters : int or None
        Number of network parameters that were trained; None where the candidate does not tell.
    difference : float or None, default=None
        Mean score minus that of the baseline, on the same splits; this and what follows up to `splits_won` is None for
        the baseline.
    low, high : float or None, default=None
        95 % interval of the difference; NaN where nothing shows how far chance could move it: with one split, and where
        all differences are equal.
    worse, equal, better : float or None, default=None
        Probabilities that the true difference is below -rope, within, above rope; NaN likewise.
    splits_won : int or None, default=None
        On how many splits it beat the baseline.
    verdict : str, default="baseline"
        "transfer helps", "negative transfer", "practically equal" or "undecided"; "better" and "worse" where the
        difference is not one between transfer and no transfer; "baseline".
    n_parameters : int or None, default=None
        Number of network parameters that the fitted candidate has to keep; None without a network.
    n_images_through_network : float or None, default=None
        Images sent through the network, mean per split; None without a network.
    peak_memory : int or None, default=None
        Highest resident memory of the process over all splits, in bytes; None where it cannot be known.
    p_value : float or None, default=None
        Two-sided p-value of no difference to the baseline, of the t-test that goes with the interval; NaN and None as
        for `low`.
    p_value_holm : float or None, default=None
        The same, corrected by Holm's method for the number of candidates that are compared with the baseline.
    image_difference, image_low, image_high : float or None, default=None
        Secondary and descriptive: difference in the share of images predicted correctly, image by image, averaged over
        repeats, and its 95 % interval over the images. It leaves out that other training images would have given other
        models. None for regression.
    interval : str or None, default=None
        How `low` and all that follows from it came about: "crossed" or "corrected", see the parameter of that name of
        :func:`compare_transfer`.

    See Also
    --------
    TransferComparison.rows : Makes them.

    Examples
    --------
    >>> from sktl.comparison import ComparisonRow
    >>> row = ComparisonRow("from_scratch", 0.6, 0.02, fit_seconds=27, predict_seconds=0.1, n_trained_parameters=692482)
    >>> row.verdict
    'baseline'
    """

    candidate: str
    mean: float
    sd: float
    fit_seconds: float
    predict_seconds: float
    n_trained_parameters: int | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    worse: float | None = None
    equal: float | None = None
    better: float | None = None
    splits_won: int | None = None
    verdict: str = "baseline"
    n_parameters: int | None = None
    n_images_through_network: float | None = None
    peak_memory: int | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    image_difference: float | None = None
    image_low: float | None = None
    image_high: float | None = None
    interval: str | None = None


@dataclass(frozen=True)
class GroupGap:
    """What folds that ignore groups score, beside folds that keep them together: the leak that groups prevent.

    Parameters
    ----------
    candidate : str
        What was scored: a candidate that trains no network, "frozen" where it is one of them.
    source : str
        Where the groups come from: "groups" as they were passed, "near copies", or, where none were passed, what
        suggests them: "folder", "name" or "date", as in :func:`~sktl.near_duplicates.suggested_groups`.
    plain, grouped : float
        Mean of the main score over folds that ignore the groups, and over folds that keep them together.
    difference : float
        `plain` minus `grouped`.
    low, high : float or None, default=None
        95 % interval of the difference, which allows for groups; None where the score is not accuracy.

    See Also
    --------
    TransferComparison : Has one as `group_gap` where there are groups.

    Examples
    --------
    >>> from sktl.comparison import GroupGap
    >>> GroupGap("frozen", "groups", plain=0.93, grouped=0.85, difference=0.08).low is None
    True
    """

    candidate: str
    source: str
    plain: float
    grouped: float
    difference: float
    low: float | None = None
    high: float | None = None
