import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from sktl._costs import COSTS
from sktl.displays import CostDisplay
from sktl.displays._cost_display import on_front


def test_nobody_on_the_front_is_beaten_and_everybody_else_is():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores, costs = rng.integers(0, 5, 8).tolist(), rng.integers(0, 5, 8).tolist()
        front = on_front(scores, costs)
        for i in range(8):
            beaten = any(
                scores[j] >= scores[i] and costs[j] <= costs[i] and (scores[j] > scores[i] or costs[j] < costs[i])
                for j in range(8)
            )
            assert front[i] is not beaten


def test_numbers_are_means_over_the_splits_with_the_corrected_interval(make_comparison):
    display = CostDisplay.from_comparison(make_comparison())
    assert display.candidates == ["frozen", "fine_tuned", "from_scratch"]
    np.testing.assert_allclose(display.costs, np.array([0.5, 5.0, 20.0]) * 1.1)
    scores = np.array([0.9, 0.8, 0.85])
    error = np.sqrt((1 / 3 + 10 / 20) * scores.var(ddof=1))
    expected = stats.t(2, loc=scores.mean(), scale=error).interval(0.95)
    np.testing.assert_allclose(display.intervals[0], np.clip(expected, 0, 1))
    assert display.front == [True, True, False]


def test_chance_level_is_a_line_and_no_candidate(make_comparison):
    display = CostDisplay.from_comparison(make_comparison())
    assert display.chance_level == pytest.approx(1 / 3)
    assert any(list(line.get_ydata()) == [display.chance_level] * 2 for line in display.plot().ax_.get_lines())


def test_chance_level_is_a_candidate_where_the_comparison_is_about_it(make_comparison):
    display = CostDisplay.from_comparison(make_comparison(("frozen", "dummy")))
    assert display.candidates == ["frozen", "dummy"]
    assert display.chance_level is None


@pytest.mark.parametrize("cost", COSTS)
def test_every_cost_can_be_drawn_on_a_logarithmic_scale(make_comparison, cost):
    ax = CostDisplay.from_comparison(make_comparison(), cost=cost).plot().ax_
    assert ax.get_xscale() == "log"
    assert COSTS[cost].label in ax.get_xlabel()
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    shown = [label.get_text() for x, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True) if low < x < high]
    assert shown
    assert all(re.fullmatch(r"[\d.]+[kMG]?|", text) for text in shown)


def test_what_costs_nothing_stands_apart_at_the_left(make_comparison):
    display = CostDisplay.from_comparison(make_comparison(("frozen", "pixels", "from_scratch")), cost="n_parameters")
    assert display.costs == [600_000, 0.0, 700_000]
    ax = display.plot().ax_
    assert "none" in [text.get_text() for text in ax.texts]
    drawn = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() in ("D", "o")]
    assert sorted(drawn) == [60_000, 600_000, 700_000]


def test_candidates_that_do_not_tell_are_named_below(make_comparison):
    display = CostDisplay.from_comparison(make_comparison(), cost="n_trained_parameters")
    assert display.left_out == ("frozen",)
    assert "not known: frozen" in display.plot().ax_.get_xlabel()


def test_memory_is_in_megabytes(make_comparison):
    assert CostDisplay.from_comparison(make_comparison(), cost="peak_memory").costs == [102 * 2**20 / 1e6] * 3


def test_names_lie_beside_each_other(make_comparison):
    comparison = make_comparison(("a", "b", "c", "from_scratch"))
    display = CostDisplay.from_comparison(comparison).plot()
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_dollars_in_names_are_no_formulas(make_comparison):
    display = CostDisplay.from_comparison(make_comparison(("a $x_", r"b $\frac", "from_scratch"))).plot()
    display.figure_.canvas.draw()


def test_an_unknown_cost_is_refused_with_a_suggestion(make_comparison):
    with pytest.raises(ValueError, match=r"cost must be one of .*Did you mean 'fit_seconds'"):
        CostDisplay.from_comparison(make_comparison(), cost="fit_second")
    with pytest.raises(ValueError, match="must be known of a candidate"):
        CostDisplay.from_comparison(make_comparison(("a", "b")), cost="n_trained_parameters")


def test_draws_into_the_axes_passed(make_comparison):
    _, axes = plt.subplots(1, 2)
    display = CostDisplay.from_comparison(make_comparison()).plot(ax=axes[1])
    assert display.ax_ is axes[1]
    assert display.figure_ is axes[1].figure


def test_frame_has_a_row_for_each_candidate(make_comparison):
    frame = CostDisplay.from_comparison(make_comparison()).frame()
    assert list(frame.columns) == ["candidate", "cost", "score", "low", "high", "on_front"]
    assert frame.on_front.tolist() == [True, True, False]


def test_the_name_of_chance_level_hides_no_point(make_comparison):
    ax = CostDisplay.from_comparison(make_comparison()).plot().ax_
    name = next(text for text in ax.texts if text.get_text().startswith("chance level"))
    assert name.get_zorder() < min(line.get_zorder() for line in ax.lines if line.get_marker() in "Do")
