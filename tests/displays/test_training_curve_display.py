import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktl import FineTuneClassifier
from sktl.datasets import make_fractals
from sktl.displays import TrainingCurveDisplay


@pytest.fixture(scope="module")
def fitted():
    X, y = make_fractals(30, n_classes=2, random_state=0)
    return FineTuneClassifier(max_epochs=3, early_stopping=True, random_state=0).fit(X, y)


def test_the_record_is_that_of_the_estimator(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    np.testing.assert_allclose(display.mean("train_loss"), fitted.history_[:, "train_loss"])
    np.testing.assert_allclose(display.mean("valid_loss"), fitted.history_[:, "valid_loss"])
    assert display.plot().ax_.get_title(loc="left") == "FineTuneClassifier: one training"


def test_a_pipeline_is_looked_into(fitted):
    pipeline = make_pipeline(FunctionTransformer(), fitted)
    assert TrainingCurveDisplay.from_estimator(pipeline).n_epochs == len(fitted.history_)


@pytest.mark.parametrize("estimator", [FineTuneClassifier(), LogisticRegression()])
def test_an_estimator_without_record_is_refused(estimator):
    with pytest.raises(TypeError, match=r"must be a fitted FineTuneClassifier.*Call fit first"):
        TrainingCurveDisplay.from_estimator(estimator)


def test_the_mean_ends_where_the_first_fold_ends(make_comparison):
    comparison = make_comparison()
    display = TrainingCurveDisplay.from_comparison(comparison, "from_scratch")
    assert [len(one) for one in display.histories] == [4, 5, 6]
    np.testing.assert_allclose(display.mean("train_loss"), 2.0 / np.arange(1, 5))
    lines = display.plot().ax_.get_lines()
    assert sorted(len(line.get_xdata()) for line in lines if line.get_linewidth() < 1) == [4, 4, 5, 5, 6, 6]
    assert [len(line.get_xdata()) for line in lines if line.get_linewidth() > 1] == [4, 4]


def test_the_best_of_those_that_trained_is_taken(make_comparison):
    assert TrainingCurveDisplay.from_comparison(make_comparison()).title == "fine_tuned"


def test_who_did_not_train_by_epochs_is_refused(make_comparison):
    with pytest.raises(ValueError, match=r"Got 'frozen' instead.*Those that did: \['fine_tuned', 'from_scratch'\]"):
        TrainingCurveDisplay.from_comparison(make_comparison(), "frozen")
    with pytest.raises(ValueError, match="must have trained a network by epochs"):
        TrainingCurveDisplay.from_comparison(make_comparison(("dummy", "frozen")))
    with pytest.raises(ValueError, match="Did you mean 'frozen'"):
        TrainingCurveDisplay.from_comparison(make_comparison(), "frozn")
    with pytest.raises(ValueError, match="Did you mean 'train_loss'"):
        TrainingCurveDisplay.from_comparison(make_comparison()).mean("train_los")


def test_without_validation_there_is_one_curve():
    histories = [[{"epoch": 1, "train_loss": 2.0}], [{"epoch": 1, "train_loss": 1.0}]]
    display = TrainingCurveDisplay(histories).plot()
    assert [text.get_text() for text in display.ax_.texts] == ["training"]
    assert np.isnan(display.mean("valid_loss")).all()


def test_draws_into_the_axes_passed_in_subplots(make_comparison):
    _, axes = plt.subplots(1, 2)
    for ax, name in zip(axes, ("fine_tuned", "from_scratch"), strict=True):
        assert TrainingCurveDisplay.from_comparison(make_comparison(), name).plot(ax=ax).ax_ is ax


def test_frame_has_a_row_for_each_epoch_of_each_fold(make_comparison):
    frame = TrainingCurveDisplay.from_comparison(make_comparison(), "fine_tuned").frame()
    assert list(frame.columns) == ["fold", "epoch", "train_loss", "valid_loss", "valid_accuracy"]
    assert frame.groupby("fold").size().tolist() == [4, 5, 6]
    assert frame.valid_accuracy.isna().all()
