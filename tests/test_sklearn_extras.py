"""The checks of scikit-learn that `check_estimator` does not yield to third parties, called by hand."""

import inspect
import re
import warnings

import numpy as np
import pytest
from numpydoc.docscrape import ClassDoc
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import check_estimator

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedClassifier, PretrainedFeatureExtractor

QUICK = {"max_epochs": 1, "random_state": 0}
EXTRACTOR = PretrainedFeatureExtractor(random_state=0)
TRAINED = [FineTuneClassifier(unfreeze_depth=0, **QUICK), FineTuneRegressor(unfreeze_depth=1, **QUICK)]
ALL = [EXTRACTOR, PretrainedClassifier(), *TRAINED]

FOR_ALL = [
    "check_dataframe_column_names_consistency",
    "check_estimator_cloneable",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_param_validation",
]
FOR_TRANSFORMERS = [
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]
FOR_PREDICTORS = ["check_all_zero_sample_weights_error", "check_sample_weights_not_overwritten"]


def call_by_hand(check, estimator):
    if not hasattr(estimator_checks, check):
        pytest.skip(f"this scikit-learn has no {check}")
    with warnings.catch_warnings():
        # Some checks pass an array where names were seen in fit, or the reverse, and scikit-learn warns of it.
        warnings.filterwarnings("ignore", message="X (has|does not have valid) feature names")
        getattr(estimator_checks, check)(type(estimator).__name__, estimator)


@pytest.mark.parametrize("check", FOR_ALL)
@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_passes_what_is_not_yielded(estimator, check):
    call_by_hand(check, estimator)


@pytest.mark.parametrize("check", FOR_TRANSFORMERS)
def test_the_extractor_passes_what_is_not_yielded_for_transformers(check):
    call_by_hand(check, EXTRACTOR)


@pytest.mark.parametrize("check", FOR_PREDICTORS)
@pytest.mark.parametrize("estimator", TRAINED, ids=lambda estimator: type(estimator).__name__)
def test_passes_what_is_not_yielded_for_predictors(estimator, check):
    call_by_hand(check, estimator)


def test_these_checks_are_indeed_not_yielded():
    """Nothing here runs twice; what scikit-learn begins to yield may be dropped from the lists above."""
    ran = {result["check_name"] for result in check_estimator(clone(EXTRACTOR).set_params(image_size=8), on_fail=None)}
    assert not ran & set(FOR_TRANSFORMERS)
    assert "check_param_validation" not in ran


@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_fitted_attributes_are_the_documented_ones(estimator):
    rng = np.random.default_rng(0)
    y = np.arange(6) % 2
    frame = pytest.importorskip("pandas").DataFrame(rng.random((6, 4)), columns=list("abcd"))
    more = {"early_stopping": True} if "early_stopping" in estimator.get_params() else {}
    model = clone(estimator).set_params(**more).fit(frame, y)
    found = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
    found |= {name for name, _ in inspect.getmembers(type(model), lambda member: isinstance(member, property))}
    found = {name for name in found if not name.startswith("_")}
    documented = {parameter.name for parameter in ClassDoc(type(estimator))["Attributes"]}
    assert found == documented
    assert all(hasattr(model, name) for name in documented)


@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_parameters_are_documented_in_order_with_their_defaults(estimator):
    signature = inspect.signature(type(estimator))
    documented = {parameter.name: parameter.type for parameter in ClassDoc(type(estimator))["Parameters"]}
    assert list(documented) == list(signature.parameters)
    for name, parameter in signature.parameters.items():
        default = re.search(r"default=(.*)$", documented[name]).group(1)
        assert default.strip('"') == str(parameter.default), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pooling", "mean"),
        ("image_size", 0),
        ("image_size", 12.5),
        ("batch_size", 0),
        ("on_error", "skip"),
        ("precision", "float64"),
        ("n_jobs", "all"),
        ("value_range", 255),
        ("layer", 1.5),
        ("image_shape", 28),
    ],
)
def test_a_parameter_of_the_wrong_kind_is_named_before_anything_is_read(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of PretrainedFeatureExtractor must be"):
        clone(EXTRACTOR).set_params(**{name: value}).fit(["no/such.png"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unfreeze_depth", -1),
        ("unfreeze_depth", "everything"),
        ("head", "mlp"),
        ("dropout", 1.0),
        ("max_epochs", 0),
        ("learning_rate", 0),
        ("layer_decay", 0),
        ("layer_decay", 1.1),
        ("weight_decay", -1),
        ("validation_fraction", 1),
        ("patience", 0),
        ("precision", "float16"),
        ("early_stopping", "yes"),
        ("callbacks", 3),
    ],
)
@pytest.mark.parametrize("estimator", TRAINED, ids=lambda estimator: type(estimator).__name__)
def test_a_parameter_of_training_of_the_wrong_kind_is_named(estimator, name, value):
    model = clone(estimator).set_params(**{name: value})
    for method in (model.fit, model.partial_fit):
        with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of {type(model).__name__} must be"):
            method(["no/such.png", "nor/this.png"], [0, 1])


@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"backbone": "resnet5"}, ValueError, "Did you mean 'resnet50'"),
        ({"backbone": 50}, TypeError, "backbone must be a name"),
        ({"weights": "no/such.pth"}, ValueError, r"no/such\.pth"),
        ({"device": "gpu"}, ValueError, "device must be"),
    ],
)
def test_parameters_that_are_judged_further_down_are_answered_there(estimator, params, error, message):
    X = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    model = clone(estimator).set_params(**params)
    with pytest.raises(error, match=message):
        # The extractor looks for its device when it needs it, in transform.
        getattr(model, "fit_transform", model.fit)(X, [0, 1, 0, 1])
