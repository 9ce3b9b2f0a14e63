"""Checks for estimators that take images, in the style of `sklearn.utils.estimator_checks`.

scikit-learn's battery feeds rows of numbers only, so it says nothing about pictures. Each check here takes an unfitted
transformer, classifier or regressor, leaves it as it was, and raises an AssertionError when something is wrong.
"""

import copy
import io
import pickle
import random
import sys
from unittest import mock

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from image_inputs import (
    HEIGHT,
    N_IMAGES,
    WIDTH,
    as_predictor,
    fitted,
    is_trained,
    kinds_in_memory,
    kinds_of_files,
    outputs,
    paths,
    pictures,
    scorer_of,
    targets,
)
from numpy.testing import assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

# Where the estimators take the door to networks from: what goes through it is counted.
DOORS = ("sktl.feature_extraction.frozen_network.load_backbone", "sktl.fine_tuning._estimator.load_backbone")


# What scikit-learn expects of the object.


def check_constructor_only_stores(estimator):
    params = {name: object() for name in estimator.get_params()}
    made = type(estimator)(**params)
    assert vars(made) == params
    assert made.get_params() == params
    assert all(made.get_params()[name] is value for name, value in params.items())


def check_nothing_is_loaded_before_fit(estimator):
    with mock.patch(DOORS[0]) as one, mock.patch(DOORS[1]) as other:
        made = clone(estimator)
        made.set_params(backbone="resnet50", weights=None, image_size=40)
        copy.deepcopy(clone(made))
        repr(made), made._repr_html_(), made.get_params(), made.__sklearn_tags__()
        pickle.loads(pickle.dumps(made))
        assert not one.called
        assert not other.called
        # The negative control: fit does go through one of these doors.
        with pytest.raises(Exception):  # noqa: B017
            made.fit(pictures(), targets(estimator))
        assert one.called or other.called


def check_set_params_and_clone_of_a_fitted_one_load_nothing(estimator):
    model = fitted(estimator)
    with mock.patch(DOORS[0]) as one, mock.patch(DOORS[1]) as other:
        bare = clone(model)
        model.set_params(backbone="resnet50", batch_size=3)
        assert not one.called
        assert not other.called
    # A backbone that is set later counts from the next fit on; what is fitted stays.
    assert outputs(model, pictures()).shape == outputs(fitted(estimator), pictures()).shape
    assert not [name for name in vars(bare) if name not in bare.get_params()]


def check_clone_and_get_params(estimator):
    model = fitted(estimator)
    other = clone(model)
    assert other.get_params() == model.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        outputs(other, pictures())
    again = type(estimator)(**estimator.get_params())
    assert_array_equal(outputs(fitted(again), paths()), outputs(model, paths()))


def check_unfitted_is_said_before_anything_else(estimator):
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    for X in (pictures(), paths(), ["no/such.png"]):
        with pytest.raises(NotFittedError):
            outputs(clone(estimator), X)


def check_is_fitted_after_images(estimator):
    for X in (pictures(), paths(), pd.DataFrame({"path": paths()})):
        model = fitted(estimator, X)
        check_is_fitted(model)
        assert model.backbone_.digest
        assert [name for name in vars(model) if name.endswith("_") and not name.startswith("_")]


def check_features_are_those_of_tables(estimator):
    frame = pd.DataFrame({"path": paths()})
    for X in (frame, pl.DataFrame({"path": paths()})):
        model = fitted(estimator, X)
        assert model.n_features_in_ == 1
        assert list(model.feature_names_in_) == ["path"]
        with pytest.raises(ValueError, match="feature names"):
            outputs(model, frame.rename(columns={"path": "file"}))
    model = fitted(estimator, np.array(paths(), dtype=object)[:, None])
    assert model.n_features_in_ == 1
    assert not hasattr(model, "feature_names_in_")
    for X in (pictures(), paths(), list(pictures()), pd.Series(paths(), name="path")):
        model = fitted(estimator, X)
        assert not hasattr(model, "n_features_in_")
        assert not hasattr(model, "feature_names_in_")


def check_refit_forgets_the_former_fit(estimator):
    frame = pd.DataFrame({"path": paths()})
    rows = pd.DataFrame(pictures()[..., 0].reshape(N_IMAGES, -1) / 200).add_prefix("x")
    floats = pictures() / 100
    model = clone(estimator)
    for X in (frame, pictures(), rows, paths(), floats, pictures(), rows):
        model.fit(X, targets(estimator))
        fresh = fitted(estimator, X)
        assert_array_equal(outputs(model, X), outputs(fresh, X))
        public = [sorted(name for name in vars(each) if not name.startswith("_")) for each in (model, fresh)]
        assert public[0] == public[1]
        assert model.value_range_ == fresh.value_range_


def check_two_fits_are_the_same(estimator):
    one, other = fitted(estimator), fitted(estimator)
    assert_array_equal(outputs(one, pictures()), outputs(other, pictures()))
    one.fit(pictures(), targets(estimator))
    assert_array_equal(outputs(one, pictures()), outputs(other, pictures()))


def check_pickles_predict_the_same(estimator):
    for X in (pictures(), pictures() / 99, pd.DataFrame({"path": paths()})):
        model = fitted(estimator, X)
        expected = outputs(model, X)
        stream = io.BytesIO()
        joblib.dump(model, stream)
        stream.seek(0)
        for other in (pickle.loads(pickle.dumps(model)), joblib.load(stream), copy.deepcopy(model)):
            assert_array_equal(outputs(other, X), expected)
            assert other.get_params() == model.get_params()
        assert outputs(clone(other).fit(X, targets(estimator)), X).shape == expected.shape
    assert_array_equal(outputs(model, X), expected)


# The vector of an image is a function of that image alone.


def check_outputs_do_not_depend_on_batch_size(estimator):
    model = fitted(estimator)
    expected = outputs(model, pictures())
    for batch_size in (1, 2, 5, 7, 12, 100):
        assert_array_equal(outputs(model.set_params(batch_size=batch_size), pictures()), expected)


def check_outputs_do_not_depend_on_order_or_neighbours(estimator):
    model = fitted(estimator)
    X = pictures()
    expected = outputs(model, X)
    rng = np.random.default_rng(1)
    order = rng.permutation(N_IMAGES)
    assert_array_equal(outputs(model, X[order]), expected[order])
    for i in (0, 5, N_IMAGES - 1):
        assert_array_equal(outputs(model, X[[i]]), expected[[i]])
    for size in (2, 3, 7):
        chosen = rng.choice(N_IMAGES, size)
        assert_array_equal(outputs(model, X[chosen]), expected[chosen])
    crowd = np.concatenate([rng.integers(0, 256, (29, HEIGHT, WIDTH, 3), dtype=np.uint8), X])
    assert_array_equal(outputs(model, crowd)[29:], expected)


def check_outputs_do_not_depend_on_n_jobs(estimator):
    for X in (pictures(), paths()):
        expected = outputs(fitted(estimator, X, n_jobs=1), X)
        assert_array_equal(outputs(fitted(estimator, X, n_jobs=3), X), expected)


def check_outputs_are_finite_numbers(estimator):
    model = fitted(estimator)
    for n_images in (1, N_IMAGES):
        found = outputs(model, pictures()[:n_images])
        assert isinstance(found, np.ndarray)
        assert len(found) == n_images
        assert found.dtype.kind == "f"
        assert np.isfinite(found).all()
        assert found.flags.writeable
    if is_classifier(model):
        assert set(model.predict(paths())) <= {"tall", "wide"}
        assert model.score(paths(), targets(model)) >= 0


def check_global_state_is_left_as_found(estimator):
    def state():
        return (
            torch.get_rng_state().tolist(),
            repr(np.random.get_state()),  # noqa: NPY002
            random.getstate(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
        )

    before = state()
    model = fitted(estimator)
    outputs(model, pictures())
    assert state() == before
    with torch.no_grad():
        outputs(fitted(estimator), paths())
        assert not torch.is_grad_enabled()
    assert state() == before


def check_fits_in_threads_are_the_same(estimator):
    expected = outputs(fitted(estimator), pictures())
    work = joblib.Parallel(n_jobs=2, backend="threading")
    for found in work(joblib.delayed(lambda: outputs(fitted(estimator), pictures()))() for _ in range(4)):
        assert_array_equal(found, expected)


def check_prints_nothing_unless_asked(estimator):
    caught = io.StringIO()
    with mock.patch.object(sys, "stdout", caught), mock.patch.object(sys, "stderr", caught):
        outputs(fitted(estimator, verbose=0), pictures())
    assert caught.getvalue() == ""


# Inside of scikit-learn's own tools.


def check_cross_validation_takes_any_kind(estimator):
    y = targets(estimator)
    predictor = as_predictor(estimator)
    for kinds, names in (
        (kinds_in_memory(), ("NHWC", "list of PIL", "tuple of PIL", "tensor", "memmap")),
        (kinds_of_files(), ("list of str", "array of str", "Series", "frame", "object column", "polars Series")),
    ):
        how = {"cv": 2, "error_score": "raise", "scoring": scorer_of(predictor)}
        scores = [cross_val_score(predictor, kinds[name], y, **how) for name in names]
        for name, found in zip(names, scores, strict=True):
            assert np.isfinite(found).all()
            assert_array_equal(found, scores[0], err_msg=name)


def check_grid_search_runs(estimator):
    predictor = as_predictor(estimator)
    prefix = "" if predictor.get_params().keys() >= {"backbone"} else f"{type(estimator).__name__.lower()}__"
    grid = {f"{prefix}image_size": [32, 40]}
    for X in (pictures(), paths()):
        how = {"cv": 2, "error_score": "raise", "scoring": scorer_of(predictor)}
        search = GridSearchCV(predictor, grid, **how).fit(X, targets(estimator))
        assert len(search.predict(X)) == N_IMAGES
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def check_column_transformer_hands_over_paths(estimator):
    y = targets(estimator)
    frame = pd.DataFrame({"path": paths(), "age": np.linspace(0, 1, N_IMAGES)})
    expected = outputs(fitted(estimator, paths()), paths())
    if hasattr(estimator, "transform"):
        for column in ("path", ["path"]):
            columns = ColumnTransformer([("images", clone(estimator), column)], remainder="passthrough")
            found = columns.fit_transform(frame)
            assert_array_equal(found[:, :-1].astype(np.float32), expected)
            assert_array_equal(found[:, -1], frame["age"])
            polars = pl.DataFrame({"path": paths(), "age": frame["age"].to_numpy()})
            assert_array_equal(columns.fit_transform(polars), found)
        return
    chosen = make_pipeline(ColumnTransformer([("images", "passthrough", ["path"])]), clone(estimator))
    assert_array_equal(outputs(chosen.fit(frame, y)[-1], np.array(paths(), dtype=object)[:, None]), expected)
    assert len(chosen.predict(frame)) == N_IMAGES


def check_lengths_must_agree_where_there_are_targets(estimator):
    for X in (pictures(), paths()):
        if is_trained(estimator):
            with pytest.raises(ValueError, match="inconsistent numbers of samples"):
                clone(estimator).fit(X, targets(estimator)[:-1])
        else:
            check_is_fitted(clone(estimator).fit(X, "no labels are looked at"))
