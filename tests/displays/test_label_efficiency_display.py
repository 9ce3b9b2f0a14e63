"""The plot of a label-efficiency curve holds the numbers, and draws into whatever axes it is given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktl.displays._label_efficiency_display import LabelEfficiencyDisplay
from sktl.label_efficiency._result import LabelEfficiency, LabelsSaved

N_LABELS = np.array([20, 40, 80])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def record(curves, n_splits=3):
    n_train = N_LABELS[:, None].repeat(n_splits, axis=1)
    luck = 0.01 * np.random.default_rng(0).standard_normal((3, n_splits))
    scores = {name: np.array(curve)[:, None] + luck * (i + 1) for i, (name, curve) in enumerate(curves.items())}
    return LabelEfficiency(
        scores=scores, sizes=(20, 40, 80), n_train=n_train, n_all=n_train[-1], n_test=np.full(n_splits, 40),
        fit_seconds={}, predict_seconds={}, seeds=n_train, baseline=list(curves)[-1], scoring="accuracy",
        transfer={name: name == "frozen" for name in curves}, failures={}, settings={},
    )  # fmt: skip


SAVES = {"frozen": [0.5, 0.6, 0.9], "from_scratch": [0.3, 0.5, 0.7]}


def texts(ax):
    return [annotation.get_text() for annotation in ax.texts]


def arrows(ax):
    return [(text.xyann, text.xy) for text in ax.texts if text.arrow_patch is not None]


def test_curves_are_the_means_over_numbers_of_labels_as_ticks():
    result = record(SAVES)
    display = result.plot()
    for line, scores in zip(display.ax_.get_lines(), result.scores.values(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), N_LABELS)
        np.testing.assert_allclose(line.get_ydata(), scores.mean(axis=1))
    assert display.ax_.get_xscale() == "log"
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["20", "40", "80"]
    assert display.ax_.get_ylabel() == "accuracy (greater is better)"


def test_bands_are_the_intervals():
    result = record(SAVES)
    band = result.plot().ax_.collections[0].get_paths()[0].vertices[:, 1]
    interval = result.interval("frozen")
    assert (band.min(), band.max()) == pytest.approx((interval.min(), interval.max()))


def test_the_arrow_goes_from_transfer_to_where_the_baseline_has_its_score():
    result = record(SAVES)
    display = result.plot()
    saved = result.headline
    ((start, end),) = arrows(display.ax_)
    assert start == pytest.approx((saved.n_labels, saved.score))
    assert end == pytest.approx((saved.needed, saved.score))
    assert f"{saved.saved:.0f} labels saved ({saved.factor:.1f} ×)" in texts(display.ax_)


@pytest.mark.parametrize(
    ("curves", "label", "end"),
    [
        ({"frozen": [0.8, 0.85, 0.9], "from_scratch": [0.3, 0.4, 0.5]}, "at least 60 labels saved (4.0 ×)", 80),
        ({"frozen": [0.2, 0.3, 0.4], "from_scratch": [0.5, 0.6, 0.7]}, "at least 60 labels lost", 20),
    ],
)
def test_a_bound_is_said_and_drawn_to_the_end(curves, label, end):
    ax = record(curves).plot().ax_
    assert label in texts(ax)
    assert arrows(ax)[0][1][0] == pytest.approx(end)


def test_the_arrow_begins_where_the_candidate_first_has_the_score():
    display = LabelEfficiencyDisplay.from_label_efficiency(record(SAVES))
    on_plateau = {"n_labels": 80, "score": 0.6, "own_needed": 40, "needed": 60, "fewest": 20, "most": 80}
    ends = {"low": 50, "high": 70, "more_low": 10, "more_high": 30}
    display.saved = LabelsSaved("frozen", "from_scratch", **on_plateau, **ends)
    ((start, end),) = arrows(display.plot().ax_)
    assert (start, end) == (pytest.approx((40, 0.6)), pytest.approx((60, 0.6)))
    assert "20 labels saved (1.5 ×)" in texts(display.ax_)


def test_long_names_that_differ_late_are_told_apart():
    ax = (
        record({"x" * 40 + "a" + "y" * 40: SAVES["frozen"], "x" * 40 + "b" + "y" * 40: SAVES["from_scratch"]})
        .plot()
        .ax_
    )
    assert len(set(texts(ax))) == 2


def test_names_stand_at_the_curves_and_do_not_lie_on_each_other():
    ax = record({"frozen": [0.5, 0.6, 0.9], "one": [0.4, 0.5, 0.9], "$two$": [0.3, 0.4, 0.9]}).plot().ax_
    places = {text.get_text(): text.xy[1] for text in ax.texts}
    heights = sorted(places[name] for name in ("frozen", "one", r"\$two\$"))
    low, high = ax.get_ylim()
    assert np.diff(heights).min() > 0.04 * (high - low)
    assert ax.get_legend() is None


def test_one_split_has_no_bands_and_still_a_plot():
    display = record(SAVES, n_splits=1).plot()
    display.figure_.canvas.draw()
    assert len(display.ax_.get_lines()) == 2


def test_without_transfer_no_arrow():
    result = record({"one": [0.5, 0.6, 0.9], "two": [0.3, 0.5, 0.7]})
    assert arrows(result.plot().ax_) == []


def test_draws_into_subplots_without_touching_the_others():
    figure, axes = plt.subplots(1, 2)
    display = LabelEfficiencyDisplay.from_label_efficiency(record(SAVES))
    assert display.plot(axes[1]) is display
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert not axes[0].has_data()
    figure.canvas.draw()


def test_frame_holds_what_is_drawn():
    result = record(SAVES)
    frame = LabelEfficiencyDisplay.from_label_efficiency(result).frame()
    assert list(frame.columns) == ["candidate", "n_labels", "score", "low", "high"]
    np.testing.assert_allclose(frame[frame.candidate == "frozen"].score, result.scores["frozen"].mean(axis=1))
    np.testing.assert_allclose(frame[frame.candidate == "frozen"][["low", "high"]], result.interval("frozen"))
