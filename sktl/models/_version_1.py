"""The record of version 1 of the format, which had classes of text and two recipes, in the form of version 2."""

from sktl.models._values import is_text, is_whole

__all__ = ["from_version_1"]

_BATCH_SIZE, _BATCH_PIXELS = 32, 32 * 384**2
_NAMES = ("weights", "image_size", "random_state", "unfreeze_depth", "max_epochs", "augment")
_METHODS = ("fine_tuned", "frozen")


def from_version_1(record):
    """Translate a record; what is wrong in a field of either version is an error of the same words."""
    method, classes, backbone, preprocessing = (
        record.get(name) for name in ("method", "classes", "backbone", "preprocessing")
    )
    _check(method in _METHODS, f"method must be one of {_METHODS}")
    _check(isinstance(classes, list) and all(map(is_text, classes)), "classes must be a list of names")
    _check(isinstance(backbone, dict), "backbone must be a dictionary")
    _check(isinstance(preprocessing, dict), "preprocessing must be a dictionary")
    size = preprocessing.get("crop_size")
    _check(is_whole(size) and size > 0, "crop_size must be a whole number up to 2048")
    parameters = record.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    width = max(map(len, classes), default=0)
    translated = {
        "digest": None,
        "backbone": {**backbone, "preprocessing": preprocessing},
        "parameters": {
            **{name: parameters[name] for name in _NAMES if name in parameters},
            "backbone": backbone.get("name"),
            "batch_size": min(max(_BATCH_PIXELS // size**2, 1), _BATCH_SIZE),
        },
        "input": {"fitted_on": "images", **dict.fromkeys(("n_features_in", "feature_names_in", "value_range"))},
        "targets": {"classes": {"dtype": f"U{max(width, 1)}", "values": classes}, "multilabel": False},
    }
    return (_fine_tuned if method == "fine_tuned" else _frozen)(record, translated)


def _fine_tuned(record, translated):
    n_frozen, stages = record.get("n_frozen"), translated["backbone"].get("stages")
    n_stages = len(stages) if isinstance(stages, list) else 0
    _check(is_whole(n_frozen) and 0 <= n_frozen <= n_stages, f"n_frozen must be a whole number up to {n_stages}")
    seed = translated["parameters"].get("random_state")
    fit = {
        "unfreeze_depth": n_stages - n_frozen,
        "head": "linear",
        "dropout": 0.0,
        "from_probe": translated["parameters"].get("weights", "default") is not None,
        "preprocessing": translated["backbone"]["preprocessing"],
        "value_range_is_learned": True,
        "seed": seed if is_whole(seed) else 0,
        "n_trainings": 1,
    }
    return {"kind": "FineTuneClassifier", **translated, "fit": fit}


def _frozen(record, translated):
    layers = record.get("layers")
    translated["parameters"] |= {"layer": layers, "pooling": record.get("pooling")}
    return {
        "kind": "Pipeline",
        **translated,
        "steps": ["pretrainedfeatureextractor", "standardscaler", "logisticregression"],
        "layers": layers,
        "scaler": {},
        "linear": {
            "type": "LogisticRegression",
            "parameters": {"C": 0.01, "max_iter": 1000},
            "order": "C",
            "intercept": "vector",
        },
    }


def _check(is_right, rule):
    if not is_right:
        raise ValueError(rule)
