"""Every field of the record of a model file that predictions depend on, and what it may be."""

import json
from math import isfinite

from sktl.models._values import is_array, is_text, is_value, is_whole

__all__ = ["MAX_IMAGE_SIZE", "MODEL_FILE", "NOT_WRITTEN", "check_preprocessing", "check_record"]

MODEL_FILE = "path must be a model file, written by save_model or 'sktl train'."
MAX_IMAGE_SIZE = 2048  # pixels, of a model file: one that asked for more could fill the memory with a single image
_MAX_CONFIGURATION, _MAX_NUMBER = 20_000, 100_000  # characters; widths, numbers of layers and classes
_FINE_TUNED = ("FineTuneClassifier", "FineTuneRegressor")
_LINEAR_CLASSIFIERS = ("LinearProbeClassifier", "LogisticRegression")
_LINEAR_REGRESSORS = ("LinearProbeRegressor", "Ridge", "RidgeCV")
_LINEAR_MODELS = _LINEAR_CLASSIFIERS + _LINEAR_REGRESSORS
# Of the session that predicts, or objects of the user's own that only training needs.
NOT_WRITTEN = {"device", "precision", "n_jobs", "cache", "verbose", "callbacks", "teacher", "scoring", "cv", "memory"}
_OF_PIPELINE = {"steps", "memory", "verbose", "transform_input"}
_KINDS = ("Pipeline", *_FINE_TUNED)


def check_record(record):
    """Check a record, in the form of this version."""
    _check_fields(record, _FIELDS)
    _check_fields(record["backbone"], _BACKBONE)
    _check_fields(record["backbone"]["preprocessing"], _PREPROCESSING)
    _check_configuration(record["backbone"].get("configuration"))
    _check_fields(record["input"], _INPUT)
    names, n_columns = record["input"].get("feature_names_in"), record["input"].get("n_features_in")
    _check(names, "feature_names_in", names is None or len(names) == n_columns, f"{n_columns} names")
    _check_parameters(record["parameters"], record["backbone"]["name"])
    if record["kind"] == "Pipeline":
        _check_pipeline(record)
    else:
        _check_fields(record, {"fit": _DICTIONARY})
        _check_fields(record["fit"], _FIT)
        _check_fields(record["fit"]["preprocessing"], _PREPROCESSING)
        depth, n_stages = record["fit"]["unfreeze_depth"], len(record["backbone"]["stages"])
        _check(depth, "unfreeze_depth", depth <= n_stages, f"at most {n_stages}")
    _check_targets(record["targets"], record["linear"]["type"] if record["kind"] == "Pipeline" else record["kind"])


def _check_targets(targets, kind):
    _check_fields(targets, _TARGETS[kind])
    if kind == "FineTuneClassifier":
        one_by_one = isinstance(targets["classes"], dict) or not targets["multilabel"]
        _check(targets["multilabel"], "multilabel", one_by_one, "false with several columns of labels")
    if kind == "FineTuneRegressor":
        mean, scale, flat = (targets[name] for name in ("mean", "scale", "flat"))
        _check(scale, "scale", len(scale) == len(mean) >= 1 and all(scale), "as many numbers as there are means, not 0")
        _check(flat, "flat", not flat or len(mean) == 1, "false with several targets")


def _check_pipeline(record):
    _check_fields(record, _PIPELINE)
    _check_fields(record["linear"], _LINEAR)
    steps, n_steps = record["steps"], 2 + (record["scaler"] is not None)
    is_right = len(steps) == n_steps and not any("__" in name or name in _OF_PIPELINE for name in steps)
    _check(steps, "steps", is_right, f"{n_steps} names as a Pipeline takes them")


def _check_parameters(parameters, name):
    """Refuse what a file has no say in."""
    _check(parameters.get("backbone"), "the parameter backbone", parameters.get("backbone") == name, repr(name))
    weights = parameters.get("weights", "default")
    is_name = weights is None or (isinstance(weights, str) and not {"/", "\\"} & {*weights})
    _check(weights, "the parameter weights", is_name, "a name")
    size = parameters.get("image_size")
    _check(size, "the parameter image_size", size is None or _is_size(size), _SIZE)


def _check_configuration(configuration):
    """Check what builds a network of transformers, where it is one."""
    if configuration is None:
        return
    is_dictionary = isinstance(configuration, dict) and len(json.dumps(configuration)) <= _MAX_CONFIGURATION
    _check(configuration, "configuration", is_dictionary, f"a dictionary of at most {_MAX_CONFIGURATION} characters")
    _check_fields(configuration, {"class": _TEXT, "flipped": _TRUTH, "values": _DICTIONARY})
    too_large = [number for number in _numbers_in(configuration["values"]) if abs(number) > _MAX_NUMBER]
    _check(too_large, "configuration", not too_large, f"made of numbers up to {_MAX_NUMBER}")


def _numbers_in(value):
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers_in(each)
    elif isinstance(value, int | float):
        yield value


def check_preprocessing(preprocessing):
    """Check sizes that come out of others."""
    _check_fields({**vars(preprocessing), "mean": [0] * 3, "std": [1] * 3}, _PREPROCESSING)


def _check_fields(values, fields):
    for name, (is_right, rule) in fields.items():
        _check(values.get(name), name, name in values and is_right(values[name]), rule)


def _check(value, name, is_right, rule):
    if not is_right:
        raise ValueError(f"{name} must be {rule}, and is {_shown(value)}")


def _shown(value):
    text = repr(value)
    return "missing" if value is None else text if len(text) <= 60 else f"{text[:60]}…"


def _is_names(value):
    return isinstance(value, list) and all(map(is_text, value)) and len(set(value)) == len(value) > 0


def _is_size(value):
    return is_whole(value) and 1 <= value <= MAX_IMAGE_SIZE


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)


def _is_numbers(value):
    return isinstance(value, list) and all(map(_is_number, value))


def _is_three(value):
    return _is_numbers(value) and len(value) == 3 and all(abs(number) < 1e6 for number in value)


def _is_range(value):
    return value is None or (_is_numbers(value) and len(value) == 2 and value[0] <= value[1])


def _is_parameters(value):
    return isinstance(value, dict) and not NOT_WRITTEN & value.keys() and all(map(is_value, value.values()))


def _is_labels(value):
    return is_array(value) and len(set(value["values"])) == len(value["values"]) > 1


def _is_columns(value):
    return isinstance(value, list) and len(value) > 1 and all(map(_is_labels, value))


_SIZE = f"a whole number up to {MAX_IMAGE_SIZE}"
_TRUTH = (lambda value: isinstance(value, bool), "true or false")
_DICTIONARY = (lambda value: isinstance(value, dict), "a dictionary")
_PARAMETERS = (_is_parameters, "parameters that a file may set")
_NAMES = (_is_names, "a list of names")
_TEXT = (is_text, "a text")
_FIELDS = {
    "kind": (lambda value: value in _KINDS, f"one of {_KINDS}"),
    "backbone": _DICTIONARY,
    "parameters": _PARAMETERS,
    "input": _DICTIONARY,
    "targets": _DICTIONARY,
}
_BACKBONE = {
    "name": (is_text, "a name"),
    "stages": _NAMES,
    "image_size": (_is_size, _SIZE),
    "transform_input": _TRUTH,
    "weights": (lambda value: value is None or is_text(value), "a text"),
    "license": _TEXT,
    "source": _TEXT,
    "digest": _TEXT,
    "preprocessing": _DICTIONARY,
}
_PREPROCESSING = {
    "crop_size": (_is_size, _SIZE),
    "resize_size": (lambda value: is_whole(value) and 1 <= value <= 2 * MAX_IMAGE_SIZE, f"up to {2 * MAX_IMAGE_SIZE}"),
    "interpolation": (is_text, "a name"),
    "mean": (_is_three, "three numbers"),
    "std": (_is_three, "three numbers"),
}
_INPUT = {
    "fitted_on": (lambda value: value in ("images", "rows"), "'images' or 'rows'"),
    "n_features_in": (lambda value: value is None or (is_whole(value) and value > 0), "a number of columns"),
    "feature_names_in": (
        lambda value: value is None or (isinstance(value, list) and all(map(is_text, value))),
        "names",
    ),
    "value_range": (_is_range, "two numbers in ascending order"),
}
_LABELS = {"classes": (_is_labels, "two or more different labels"), "multilabel": _TRUTH}
_LABELS_OR_COLUMNS = {
    "classes": (
        lambda value: _is_labels(value) or _is_columns(value),
        "two or more different labels",
    ),
    "multilabel": _TRUTH,
}
_N_TARGETS = {
    "n_targets": (lambda value: value is None or (is_whole(value) and value > 0), "a number of targets, or none"),
}
_NUMBERS = {"mean": (_is_numbers, "a list of numbers"), "scale": (_is_numbers, "a list of numbers"), "flat": _TRUTH}
_TARGETS = {
    **dict.fromkeys(_LINEAR_CLASSIFIERS, _LABELS),
    "FineTuneClassifier": _LABELS_OR_COLUMNS,
    **dict.fromkeys(_LINEAR_REGRESSORS, _N_TARGETS),
    "FineTuneRegressor": _NUMBERS,
}
_PIPELINE = {
    "steps": _NAMES,
    "layers": _NAMES,
    "scaler": (lambda value: value is None or _is_parameters(value), _PARAMETERS[1]),
    "linear": _DICTIONARY,
}
_LINEAR = {
    "type": (lambda value: value in _LINEAR_MODELS, f"one of {_LINEAR_MODELS}"),
    "parameters": _PARAMETERS,
    "order": (lambda value: value in ("C", "F"), "'C' or 'F'"),
    "intercept": (lambda value: value in ("none", "number", "vector"), "'none', 'number' or 'vector'"),
}
_FIT = {
    "unfreeze_depth": (lambda value: is_whole(value) and value >= 0, "a whole number"),
    "head": (
        lambda value: value == "linear" or (isinstance(value, list) and all(is_whole(v) and v > 0 for v in value)),
        "'linear' or a list of widths",
    ),
    "dropout": (lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to 1"),
    "from_probe": _TRUTH,
    "preprocessing": _DICTIONARY,
    "value_range_is_learned": _TRUTH,
    "seed": (lambda value: is_whole(value) and 0 <= value < 2**31, "a seed"),
    "n_trainings": (lambda value: is_whole(value) and 0 < value < 2**31, "a whole number"),
}
