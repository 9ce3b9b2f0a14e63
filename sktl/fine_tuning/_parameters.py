"""Constraints of the parameters that the estimators share, each alone and all together."""

from numbers import Integral, Real
from os import PathLike

from sktl._validation import Interval, StrOptions
from sktl.training import AUGMENTATIONS, OptimizerSettings, base_learning_rate, check_augment, check_callbacks
from sktl.training.callbacks import training_options

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
    "batch_norm": [StrOptions({"auto", "frozen", "update"})],
    "augment": "no_validation",  # check_augment does
    "n_views": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
    "mixup": [Interval(Real, 0, None, closed="left")],
    "cutmix": [Interval(Real, 0, None, closed="left")],
    "test_time_augmentation": ["boolean"],
    "ensemble": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "patience": [Interval(Integral, 1, None, closed="left")],
    "refit": ["boolean"],
    "warm_start": ["boolean"],
    "callbacks": ["array-like", None],
    "image_size": [Interval(Integral, 1, None, closed="left"), None],
    "image_shape": [tuple, list, None],
    "value_range": [tuple, list, None],
    "on_error": [StrOptions({"raise", "skip"})],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "device": "no_validation",  # resolve_placement does
    # float16 would need its losses scaled to train; bfloat16 has the same speed and does not.
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "n_jobs": [Integral, None],
    "cache": ["boolean", str, PathLike, list, tuple],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def check_together(estimator, *, watched=False):
    """Raise ValueError if parameters that are right one by one exclude each other."""
    check_augment(estimator.augment, ("auto", *AUGMENTATIONS))
    if isinstance(estimator.n_views, Integral) and estimator.augment is None:
        raise ValueError(
            f"n_views must be 'auto' or None when there is no augmentation. Got {estimator.n_views} instead. "
            "Set augment='light'."
        )
    check_callbacks(estimator.callbacks, watched=watched)
    for option in training_options(estimator.callbacks):
        option._check(estimator.early_stopping)


def settings_of(estimator):
    """Return the optimizer settings that the parameters of an estimator stand for."""
    from_scratch = estimator.weights is None
    return OptimizerSettings(
        learning_rate=base_learning_rate(estimator.learning_rate, estimator.backbone_.family, from_scratch),
        layer_decay=estimator.layer_decay,
        weight_decay=estimator.weight_decay,
        from_scratch=from_scratch,
        mixup=estimator.mixup,
        cutmix=estimator.cutmix,
        **estimator._distillation(),
    )


def depth_of(unfreeze_depth, backbone, *, from_scratch):
    """Return the number of trained stages; from scratch there is nothing worth freezing."""
    n_stages = len(backbone.stages)
    depth = n_stages if unfreeze_depth == "all" or from_scratch else unfreeze_depth
    if depth > n_stages:
        raise ValueError(
            f"unfreeze_depth must be at most {n_stages} for {backbone.name}, whose stages are "
            f"{list(backbone.stage_names)}. Got {depth} instead. Use 'all' to train everything."
        )
    return depth


def check_structure(estimator):
    """Raise ValueError if a fitted network, to be trained on, is not as the parameters describe."""
    network = estimator.module_
    wrong = [
        *(["unfreeze_depth"] if estimator._depth() != estimator.unfreeze_depth_ else []),
        *(["image_size"] if estimator._preprocessing() != network.preprocessing else []),
        *(["head"] if not network.head.is_built_as(estimator.head) else []),
        *(["dropout"] if estimator.dropout != network.head.dropout.p else []),
    ]
    if wrong:
        raise ValueError(
            f"{wrong[0]} must stay what it was when training goes on. Got {getattr(estimator, wrong[0])!r} instead. "
            "Use warm_start=False to start anew."
        )
