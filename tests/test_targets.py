"""Labels in the forms that tables have them, and what is no label."""

import numpy as np
import pandas
import polars
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from sktl import FineTuneClassifier, FineTuneRegressor, compare_transfer
from sktl._targets import check_data, missing_labels, plain_labels

FLAGS = [True, False, True, True]
NULLABLE = [
    pandas.Series(FLAGS, dtype="boolean"),
    pandas.Series([3, 1, 3, 3], dtype="Int64"),
    pandas.Series([3, 1, 3, 3], dtype="int64[pyarrow]"),
    pandas.Series([3, 1, 3, 3], dtype=object),
    pandas.Series(["b", "a", "b", "b"], dtype="string"),
    pandas.Series(["b", "a", "b", "b"], dtype="category"),
    pandas.DataFrame({"a": FLAGS, "b": [True] * 4}).astype("boolean"),
    pandas.DataFrame({"a": [1, 0, 1, 1], "b": [1] * 4}).astype("Int8"),
    polars.Series([3, 1, 3, 3]),
    polars.DataFrame({"a": [1, 0, 1, 1], "b": FLAGS}),
]
MISSING = [
    pandas.Series([1, None, 2], dtype="Int64"),
    pandas.Series([1, None, 2], dtype="int64[pyarrow]"),
    pandas.Series([True, None, True], dtype="boolean"),
    pandas.Series(["a", None, "b"]),
    pandas.Series(["a", None, "b"], dtype="category"),
    pandas.Series([0.5, None, 2]),
    pandas.DataFrame({"a": [1, 0, 1], "b": [0, None, 1]}).astype("Int64"),
    ["a", None, "b"],
    ["a", float("nan"), "b"],
    [1, None, 2],
    np.array(["a", None, "b"], dtype=object),
    np.ma.masked_array([1, 2, 3], [0, 1, 0]),
    np.ma.masked_array(["a", "b", "c"], [0, 1, 0]),
    np.ma.masked_array([[1, 0], [0, 1], [1, 1]], [[0, 0], [0, 1], [0, 0]]),
    polars.Series([1, None, 2]),
    polars.Series(["a", None, "b"]),
]


@pytest.mark.parametrize("y", NULLABLE, ids=lambda y: str(getattr(y, "dtype", type(y))))
def test_labels_of_any_column_are_those_of_a_plain_array(y):
    plain = plain_labels(y)
    rows = y.rows() if hasattr(y, "rows") else y.values.tolist() if hasattr(y, "columns") else list(y)
    assert np.asarray(plain).dtype.kind in "biufOU"
    assert np.asarray(plain).dtype.kind != "O" or isinstance(rows[0], str)
    assert np.asarray(plain).tolist() == [list(row) if isinstance(row, tuple) else row for row in rows]


@pytest.mark.parametrize("y", MISSING, ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', '')}")
@pytest.mark.parametrize("Estimator", [FineTuneClassifier, FineTuneRegressor])
def test_a_label_that_is_missing_is_named(Estimator, y):
    """But for those of one of several columns, which a classifier does without."""
    message = (
        r"y must have a label for every image\. Got none for 1 of 3 instead, the first at position 1\. Leave these"
    )
    with pytest.raises(ValueError, match=message):
        plain_labels(y)
    if np.ndim(y) == 1 or Estimator is FineTuneRegressor:
        with pytest.raises(ValueError, match=message):
            Estimator().fit(np.zeros((3, 8, 8), dtype=np.uint8), y)


@pytest.mark.parametrize("y", MISSING, ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', '')}")
def test_missing_labels_are_found_in_any_kind_of_column(y):
    expected = np.zeros(np.shape(y), dtype=bool)
    expected[1, ...] = True if np.ndim(y) == 1 else [False, True]
    assert_array_equal(missing_labels(y), expected)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, -1, 2], [False, True, False]),
        ([0.0, -1.0, np.nan], [False, True, True]),
        (np.array([0, 1], dtype=np.uint8), [False, False]),
        ([True, False], [False, False]),
        (["-1", "nan", ""], [False, False, False]),
        ([["a", -1], [None, 3], ["b", 0]], [[False, True], [True, False], [False, False]]),
        (csr_array(np.array([[0, -1], [1, 2]])), [[False, True], [False, False]]),
        (np.ma.masked_array([[0, 1], [-1, 2]], [[1, 0], [0, 0]]), [[True, False], [True, False]]),
        (pandas.DataFrame({"a": ["x", None], "b": [-1, 4]}), [[False, True], [True, False]]),
    ],
    ids=str,
)
def test_a_label_of_minus_one_is_missing_as_in_semi_supervised_learning(y, expected):
    assert_array_equal(missing_labels(y), expected)


@pytest.mark.parametrize(
    "y",
    [np.array([1.0, np.nan]), [1.0, float("nan")], ["nan", "None", ""], np.ma.masked_array([1, 2]), [[1], [1, 2]], 3],
)
def test_what_is_no_text_and_no_table_is_left_to_scikit_learn(y):
    assert plain_labels(y) is y or not np.ma.isMaskedArray(plain_labels(y))


@pytest.mark.parametrize("y", NULLABLE, ids=lambda y: str(getattr(y, "dtype", type(y))))
def test_a_classifier_takes_columns_of_any_kind(pictures, y):
    model = FineTuneClassifier(unfreeze_depth=0)
    plain = np.array([list(row) for row in y.rows()] if hasattr(y, "rows") else np.asarray(y).tolist())
    expected = model.fit(pictures[:4], plain.astype(int) if plain.ndim == 2 else plain).predict(pictures[:4])
    assert model.fit(pictures[:4], y).predict(pictures[:4]).tolist() == expected.tolist()


def test_a_regressor_takes_nullable_numbers(pictures):
    model = FineTuneRegressor(unfreeze_depth=0)
    expected = model.fit(pictures[:4], [3, 1, 2, 2]).predict(pictures[:4])
    for dtype in ("Int64", "Float64"):
        assert model.fit(pictures[:4], pandas.Series([3, 1, 2, 2], dtype=dtype)).predict(pictures[:4]) == pytest.approx(
            expected, abs=0
        )


@pytest.mark.parametrize("as_matrix", [np.asarray, pandas.DataFrame, csr_array])
def test_one_hot_labels_get_a_hint(pictures, as_matrix):
    one_hot = np.eye(3, dtype=int)[[0, 1, 2, 1]]
    with pytest.warns(UserWarning, match=r"\(multilabel\).*exactly one in every row.*pass y\.argmax\(axis=1\)"):
        model = FineTuneClassifier(unfreeze_depth=0).fit(pictures[:4], as_matrix(one_hot))
    assert model.predict(pictures[:4]).shape == (4, 3)
    one_hot[0] = 1
    FineTuneClassifier(unfreeze_depth=0).fit(pictures[:4], as_matrix(one_hot))  # and no warning


@pytest.mark.parametrize("task", ["auto", "classification"])
@pytest.mark.parametrize(
    "y",
    [np.arange(30), np.arange(30.0), np.arange(40) % 25, pandas.Series(np.arange(12), dtype="Int64"), np.arange(11)],
)
def test_whole_numbers_that_hardly_ever_come_twice_are_no_classes(y, task):
    with pytest.raises(ValueError, match=r'y must hold classes.*different numbers for.*pass task="regression"'):
        check_data(np.zeros((len(y), 4, 4)), y, None, task)
    assert check_data(np.zeros((len(y), 4, 4)), y, None, "regression")[1] == "regression"


@pytest.mark.parametrize("y", [np.arange(10), np.arange(40) % 20, np.arange(30).astype(str), [True, False] * 3])
def test_few_or_repeated_numbers_and_all_texts_may_be_classes(y):
    assert check_data(np.zeros((len(y), 4, 4)), y, None, "auto")[1] == "classification"


def test_numbers_with_fractions_are_no_classes():
    y = [0.5, 1.5] * 10
    assert check_data(np.zeros((20, 4, 4)), y, None, "auto")[1] == "regression"
    with pytest.raises(ValueError, match='pass task="regression"'):
        check_data(np.zeros((20, 4, 4)), y, None, "classification")


SEVERAL = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        *(
            (form(SEVERAL), r"Got shape \(4, 3\) instead\. Pass one column .*FineTuneClassifier.* with cross_val_score")
            for form in (np.asarray, np.ndarray.tolist, csr_array, pandas.DataFrame, lambda matrix: matrix > 0)
        ),
        (np.eye(3)[[0, 1, 2, 1]], r"Got shape \(4, 3\) instead\. .* pass y\.argmax\(axis=1\)"),
        (SEVERAL + 0.5, r"Got shape \(4, 3\) instead\. Pass one column .*FineTuneRegressor.* with cross_val_score"),
        (np.array([["a", "b"]] * 4), r"Got shape \(4, 2\) instead\. Pass one column .*columns of labels"),
        (SEVERAL * 2, r"Got shape \(4, 3\) instead\. Pass one column .*columns of labels"),
        ([("a", "b"), ("a",), (), ("b",)], r"Got cells of type tuple instead\. Score FineTuneClassifier.*Binarizer"),
        ([{"a"}, {"b"}, set(), {"a", "b"}], r"Got cells of type set instead\. Score FineTuneClassifier.*Binarizer"),
        (pandas.Series([["a"], ["b"], ["a"], ["b"]]), "Got cells of type list instead"),
    ],
)
@pytest.mark.parametrize("task", ["auto", "classification", "regression"])
def test_several_targets_per_image_are_refused_with_what_takes_them(y, message, task):
    with pytest.raises(ValueError, match=f"y must be one label per image.*{message}"):
        check_data(np.zeros((4, 4, 4)), y, None, task)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # scikit-learn's own
@pytest.mark.parametrize("task", ["auto", "classification"])
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_is_no_number_stays_an_error_of_its_own(odd, task):
    y = np.array([1.0, 2.0, 2.5, odd] * 3)
    with pytest.raises(ValueError, match=r"contains|must hold classes"):
        check_data(np.zeros((12, 4, 4)), y, None, task)


def test_a_comparison_says_so_before_anything_is_computed(pictures):
    with pytest.raises(ValueError, match=r'Got 30 different numbers for 30 images instead: pass task="regression"'):
        compare_transfer(pictures, np.arange(30))
    with pytest.raises(ValueError, match=r"Got shape \(30, 3\) instead.*y\.argmax\(axis=1\)"):
        compare_transfer(pictures, np.eye(3)[np.arange(30) % 3])
    with pytest.raises(ValueError, match=r"y must have a label for every image\. Got none for 2 of 30"):
        compare_transfer(pictures, ["a", None, None, *"ab" * 13, "c"])
