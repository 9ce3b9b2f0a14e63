"""Which values the shared parameters of the estimators may take, each alone and all together."""

from numbers import Integral, Real
from os import PathLike

from sktl._validation import Interval, StrOptions
from sktl.fine_tuning._augmentation import check_augment

SHARED_CONSTRAINTS: dict = {
    "backbone": "no_validation",  # load_backbone judges these two, with a hint what to write instead
    "weights": "no_validation",
    "unfreeze_depth": [Interval(Integral, 0, None, closed="left"), StrOptions({"all"})],
    "head": [StrOptions({"linear"}), "array-like", callable],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
    "layer_decay": [Interval(Real, 0, 1, closed="right")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "l2_sp": [Interval(Real, 0, None, closed="left")],
    "batch_norm": [StrOptions({"auto", "frozen", "update"})],
    "unfreeze_schedule": ["array-like", None],
    "ema_decay": [Interval(Real, 0, 1, closed="neither"), None],
    "augment": "no_validation",  # check_augment does
    "n_views": [Interval(Integral, 1, None, closed="left"), None],
    "mixup": [Interval(Real, 0, None, closed="left")],
    "cutmix": [Interval(Real, 0, None, closed="left")],
    "test_time_augmentation": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "patience": [Interval(Integral, 1, None, closed="left")],
    "refit": ["boolean"],
    "warm_start": ["boolean"],
    "callbacks": ["array-like", None],
    "image_size": [Interval(Integral, 1, None, closed="left"), None],
    "image_shape": [tuple, list, None],
    "value_range": [tuple, list, None],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "device": "no_validation",  # resolve_placement does
    # float16 would need its losses scaled to train; bfloat16 has the same speed and does not.
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "n_jobs": [Integral, None],
    "cache": ["boolean", str, PathLike],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def check_together(estimator):
    """Raise if parameters that are right one by one do not make sense together.

    Parameters
    ----------
    estimator : FineTuneEstimator
        Whose parameters are judged.

    Raises
    ------
    ValueError
        With the parameter to change.
    """
    check_augment(estimator.augment)
    if estimator.n_views is not None and estimator.augment is None:
        raise ValueError(
            f"n_views must be None when there is no augmentation. Got {estimator.n_views} instead. Set augment='light'."
        )
    if estimator.ema_decay is not None and estimator.early_stopping:
        raise ValueError(
            "ema_decay must be None with early_stopping=True, which restores the weights of one epoch. "
            f"Got {estimator.ema_decay} instead. Use one of the two."
        )
    epochs = estimator.unfreeze_schedule
    if epochs is not None and not (
        len(epochs) and all(isinstance(epoch, Integral) for epoch in epochs) and list(epochs) == sorted(epochs)
    ):
        raise ValueError(
            "unfreeze_schedule must be epochs in ascending order, the first for the top stage. "
            f"Got {epochs!r} instead. (0, 5, 10) trains one stage from the start, two after 5 epochs, all after 10."
        )
