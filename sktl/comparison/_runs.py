"""Fitting and scoring: every candidate on every split, each split with its own seed."""

from dataclasses import dataclass

__all__ = [
    "Run",
    "set_seeds",
]


@dataclass(frozen=True)
class Run:
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
        Forward passes of images, in fit and predict together; None without a network.
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
        Name, weights, source, licence and digest of the network.
    pretrained : bool or None, default=None
        Whether its weights were pretrained ones, found out on the first split.
    error : str or None, default=None
        Type and message of the error of a failed fit.

    See Also
    --------
    TransferComparison : Holds them, and what follows from them.

    Examples
    --------
    >>> from sktl.comparison import Run
    >>> run = Run("frozen", split=0, scores={"accuracy": 0.8}, fit_seconds=1.5, predict_seconds=0.2)
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
    predicted: list | None = None
    confidence: list[float] | None = None
    history: list[dict] | None = None
    network: dict | None = None
    pretrained: bool | None = None
    error: str | None = None


def set_seeds(estimator, seed):
    """Give the seed to every parameter called random_state, in nested estimators too."""
    names = [name for name in estimator.get_params(deep=True) if name.rpartition("__")[2] == "random_state"]
    estimator.set_params(**dict.fromkeys(names, seed))  # not every estimator returns itself here
    return estimator
