"""Networks by score and seconds: the leading group is blue, the recommended one a diamond, controls are lines."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from sktl.displays import BackboneRankingDisplay
from sktl.displays._drawing import BLUE, GREY


@pytest.fixture
def display():
    return BackboneRankingDisplay(
        ["large", "small", "weak"],
        [0.92, 0.91, 0.6],
        [(0.89, 0.95), (0.88, 0.94), (np.nan, np.nan)],
        [0.2, 0.02, 0.001],
        scoring="accuracy",
        leading_group=["large", "small"],
        recommended="small",
        controls={"dummy": 0.1, "pixels": 0.5},
    )


def markers(ax):
    return [line for line in ax.lines if line.get_marker() in ("o", "D")]


def test_points_lie_at_milliseconds_and_scores(display):
    points = markers(display.plot().ax_)
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in points]
    np.testing.assert_allclose(places, [(200, 0.92), (20, 0.91), (1, 0.6)])
    assert [to_hex(line.get_color()) for line in points] == [BLUE.lower(), BLUE.lower(), GREY]
    assert [line.get_marker() for line in points] == ["o", "D", "o"]


def test_intervals_are_drawn_where_there_are_some_and_controls_as_lines(display):
    ax = display.plot().ax_
    dotted = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert dotted == [0.1, 0.5]
    bars = [line.get_ydata() for line in ax.lines if line.get_linestyle() == "-" and len(line.get_ydata()) == 2]
    np.testing.assert_allclose(bars, [(0.89, 0.95), (0.88, 0.94)])


def test_names_are_written_with_their_scores_and_none_lies_on_another(display):
    figure = display.plot().figure_
    figure.canvas.draw()
    texts = [text for text in display.ax_.texts if text.get_text()]
    assert {text.get_text().split("  ")[0] for text in texts} == {"large", "small", "weak", "dummy", "pixels"}
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_one_network_without_controls_is_drawn(tmp_path):
    display = BackboneRankingDisplay(["a"], [0.5], [(0.4, 0.6)], [0.01], scoring="r2").plot()
    display.figure_.savefig(tmp_path / "one.png")
    assert display.ax_.get_xlabel() == "milliseconds per image (less is better)"


def test_frame_has_a_row_for_each_network(display):
    frame = display.frame()
    assert frame.columns.tolist() == ["name", "score", "low", "high", "seconds", "in_leading_group"]
    assert frame["in_leading_group"].tolist() == [True, True, False]
