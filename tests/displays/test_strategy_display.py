"""Scores over stages and over seconds: what is drawn are the numbers that were passed."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktl.displays import StrategyDisplay

NAN = float("nan")


@pytest.fixture
def display():
    yield StrategyDisplay(
        ["stem", "top", "all"],
        {"avg": [0.6, 0.8, 0.82], "avg+std": [0.62, NAN, 0.85]},
        {"pixels": 0.55, "chance level": 0.3},
        ["frozen", "fine_tuned_1", "from_scratch"],
        [0.85, 0.88, NAN],
        [(0.8, 0.9), (0.83, 0.93), (NAN, NAN)],
        [2.0, 30.0, 240.0],
        recommended="fine_tuned_1",
        scoring="accuracy",
    )
    plt.close("all")


def test_scores_over_stages_and_over_seconds(display):
    left, right = display.plot().axes_
    assert [text.get_text() for text in left.get_xticklabels()] == ["stem", "top", "all"]
    curves = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    np.testing.assert_array_equal(curves["avg"], [0.6, 0.8])  # all stages are no stage above the top one
    points = [line for line in right.get_lines() if len(line.get_xdata()) == 1]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in points] == [(2.0, 0.85), (30.0, 0.88)]
    assert right.get_xscale() == "log"


def test_the_recommended_one_stands_out(display):
    display.plot()
    points = [line for line in display.axes_[1].get_lines() if len(line.get_xdata()) == 1]
    assert [line.get_marker() for line in points] == ["o", "D"]
    assert points[0].get_color() != points[1].get_color()


def test_names_scores_and_what_was_not_tried_are_written(display):
    display.plot()
    texts = [text.get_text() for text in display.axes_[1].texts]
    assert texts == ["frozen  0.850", "fine_tuned_1  0.880", "from_scratch  not tried"]
    assert {"pixels", "chance level"} <= {text.get_text() for text in display.axes_[0].texts}


def test_no_text_leaves_the_figure(display):
    display.plot()
    display.figure_.canvas.draw()
    box = display.figure_.bbox
    for text in display.axes_[1].texts:
        assert text.get_window_extent().x1 <= box.x1


def test_into_axes_of_ones_own(display):
    figure, axes = plt.subplots(1, 2)
    assert display.plot(ax=axes).figure_ is figure
    single = plt.subplots()[1]
    assert len(display.plot(ax=single).axes_) == 2
    with pytest.raises(ValueError, match="pair"):
        display.plot(ax=plt.subplots(1, 3)[1])


def test_a_single_strategy_can_be_drawn():
    display = StrategyDisplay(
        ["all"], {"avg": [NAN], "avg+std": [0.8]}, {}, ["frozen"], [0.8], [(NAN, NAN)], [1.0], recommended="frozen"
    )
    display.plot()
    plt.close("all")


def test_the_numbers_as_a_frame(display):
    frame = display.frame()
    assert frame.columns.tolist() == ["strategy", "score", "low", "high", "fit_seconds", "recommended"]
    assert frame["recommended"].tolist() == [False, True, False]


def test_what_costs_nobody_knows_what_is_not_drawn():
    display = StrategyDisplay(
        ["all"], {"avg": [NAN], "avg+std": [0.8]}, {}, ["frozen", "fine_tuned_all"], [0.8, 0.9],
        [(NAN, NAN), (NAN, NAN)], [1.0, NAN], recommended="frozen",
    )  # fmt: skip
    assert [text.get_text() for text in display.plot().axes_[1].texts] == ["frozen  0.800"]
    plt.close("all")
