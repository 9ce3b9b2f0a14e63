from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktl.comparison import ComparisonRow
from sktl.displays import ComparisonDisplay
from sktl.displays._comparison_display import UNDECIDED
from sktl.displays._drawing import BLUE, INK, ORANGE


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def make(names=("dummy", "frozen", "from_scratch"), baseline="from_scratch", scoring="accuracy"):
    scores = {name: np.array([0.5, 0.6, 0.7]) + 0.1 * number for number, name in enumerate(names)}
    rows = [
        ComparisonRow(name, scores[name].mean(), 0.1, 1.0, 0.1, None)
        if name == baseline
        else ComparisonRow(name, scores[name].mean(), 0.1, 1.0, 0.1, None, -0.1, -0.3, 0.1, 0.9, 0.05, 0.05, 0, "worse")
        for name in names
    ]
    return ComparisonDisplay(scores, rows, baseline=baseline, scoring=scoring, rope=0.01)


def tick_labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_axes_say_what_they_show_and_in_which_unit():
    left, right = make().plot().axes_
    assert left.get_xlabel() == "difference in accuracy to from_scratch"
    assert right.get_xlabel() == "accuracy (greater is better)"
    assert tick_labels(left) == ["frozen", "from_scratch\n(baseline)"]


def test_every_score_is_a_point_and_every_split_a_line():
    display = make()
    right = display.plot().axes_[1]
    drawn = np.sort(np.concatenate([line.get_xdata() for line in right.get_lines() if line.get_marker() == "o"]))
    expected = np.sort(np.concatenate([display.scores["frozen"], display.scores["from_scratch"]]))
    np.testing.assert_allclose(drawn, expected)
    joined = [line for line in right.get_lines() if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
    assert len(joined) == 3


def test_the_interval_is_drawn_from_end_to_end():
    left = make().plot().axes_[0]
    assert any(list(line.get_xdata()) == [-0.3, 0.1] for line in left.get_lines())


@pytest.mark.parametrize(
    ("verdict", "color", "shape"),
    [
        ("transfer helps", BLUE, "D"),
        ("better", BLUE, "D"),
        ("negative transfer", ORANGE, "s"),
        ("worse", ORANGE, "s"),
        ("practically equal", INK, "o"),
        ("undecided", UNDECIDED, "o"),
    ],
)
@pytest.mark.parametrize("difference", [-0.1, 0.1])
def test_colour_and_shape_are_those_of_the_verdict_whatever_the_sign(verdict, color, shape, difference):
    display = make()
    display.rows = [
        row if row.difference is None else replace(row, verdict=verdict, difference=difference) for row in display.rows
    ]
    left = display.plot().axes_[0]
    (interval,) = [line for line in left.get_lines() if list(line.get_xdata()) == [-0.3, 0.1]]
    (mean,) = [line for line in left.get_lines() if list(line.get_xdata()) == [difference]]
    assert interval.get_color() == mean.get_color() == color
    assert mean.get_marker() == shape
    assert {text.get_color() for text in left.texts} == {color}


@pytest.mark.parametrize("n_splits", [2, 5, 50])
def test_folds_of_one_score_are_all_to_be_seen_and_none_reaches_another_row(n_splits):
    display = make()
    display.scores = {name: np.repeat([0.8, 0.6], [n_splits - 1, 1]) for name in display.scores}
    right = display.plot().axes_[1]
    (points,) = [line for line in right.get_lines() if line.get_marker() == "o"]
    places = np.stack(points.get_data(), axis=1)
    assert len(np.unique(places, axis=0)) == 2 * n_splits
    rows = np.round(places[:, 1])
    assert np.abs(places[:, 1] - rows).max() < 0.3
    for row in (0, 1):  # spread evenly about the row
        assert places[rows == row, 1].mean() == pytest.approx(row)


def test_a_figure_of_its_own_says_the_verdict_and_what_was_compared(make_comparison):
    comparison = make_comparison(data="set/photos", networks={"frozen": {"name": "tiny_fractal"}, "dummy": None})
    display = comparison.plot()
    title = " ".join(display.figure_.get_suptitle().split())
    assert title == str(comparison).splitlines()[0]
    assert display.figure_.get_supxlabel() == "set/photos · 30 images in 3 classes · tiny_fractal · 3 folds"
    figure, ax = plt.subplots()
    comparison.plot(ax=ax)
    assert figure.get_suptitle() == figure.get_supxlabel() == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_repeats": 3}, "30 images in 3 classes · 1 folds, drawn 3 times"),
        ({"task": "regression"}, "30 images · 3 folds"),
        ({"data": "a $b$"}, r"a \$b\$ · 30 images in 3 classes · 3 folds"),
    ],
)
def test_what_was_compared_is_said_as_far_as_it_is_known(make_comparison, settings, said):
    display = make_comparison(**settings).plot()
    assert display.figure_.get_supxlabel() == said
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("names", "baseline", "shown"),
    [
        (("dummy", "a"), "a", ["dummy", "a\n(baseline)"]),
        (("dummy", "a", "b"), "dummy", ["dummy\n(baseline)", "a", "b"]),
    ],
)
def test_chance_level_keeps_its_row_where_the_comparison_is_about_it(names, baseline, shown):
    assert tick_labels(make(names, baseline).plot().axes_[0]) == shown


def test_one_axes_is_divided_and_a_pair_is_taken():
    figure, ax = plt.subplots()
    assert make().plot(ax=ax).figure_ is figure
    figure, pair = plt.subplots(1, 2)
    assert make().plot(ax=pair).axes_[1] is pair[1]
    with pytest.raises(ValueError, match="one Axes or a pair"):
        make().plot(ax=plt.subplots(1, 3)[1])


def test_nothing_is_cut_off_with_long_names():
    display = make(("a candidate with quite a long name", "another one that is even longer than that"), "x").plot()
    display.figure_.canvas.draw()
    box = display.figure_.bbox
    for ax in display.axes_:
        tight = ax.get_tightbbox()
        assert tight.x0 >= box.x0 - 1
        assert tight.x1 <= box.x1 + 1
        assert tight.y0 >= box.y0 - 1
        assert tight.y1 <= box.y1 + 1


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")

    monkeypatch.setattr("sktl._optional.import_module", missing)
    with pytest.raises(ImportError, match=r"sktl\[plot\]"):
        make().plot()


def test_names_stand_at_both_axes_unless_they_share_a_scale():
    apart = make().plot(ax=plt.subplots(2, 1)[1]).axes_
    assert tick_labels(apart[0]) == tick_labels(apart[1]) == ["frozen", "from_scratch\n(baseline)"]
    left, right = make().plot().axes_
    assert left.yaxis.get_tick_params()["labelleft"]
    assert not right.yaxis.get_tick_params()["labelleft"]


def test_dollars_in_names_are_no_formulas():
    display = make((r"$\frac", "b $", "x_$^$"), "b $").plot()
    display.figure_.canvas.draw()


def test_frame_has_a_row_for_each_candidate_and_a_column_for_each_split():
    display = make()
    frame = display.frame().set_index("candidate")
    assert list(frame.index) == ["dummy", "frozen", "from_scratch"]
    np.testing.assert_allclose(frame.loc["frozen", ["split_0", "split_1", "split_2"]].astype(float), [0.6, 0.7, 0.8])
    assert frame.loc["frozen", "low"] == -0.3
    assert np.isnan(frame.loc["from_scratch", "difference"])


def test_numbers_come_from_a_comparison(make_comparison):
    comparison = make_comparison()
    display = ComparisonDisplay.from_comparison(comparison)
    assert display.rows == comparison.rows()
    assert comparison.plot().axes_.shape == (2,)


def test_long_names_that_differ_in_the_middle_are_told_apart():
    names = tuple("x" * 30 + middle + "y" * 30 for middle in "ab")
    written = tick_labels(make(names, names[1]).plot().axes_[0])
    assert len({label.removesuffix("\n(baseline)") for label in written}) == 2


def test_small_scores_are_labelled_with_decimals_enough():
    display = make()
    display.scores = {name: scores / 1000 for name, scores in display.scores.items()}
    display.rows = [replace(row, mean=row.mean / 1000) for row in display.rows]
    assert "0.000700" in [text.get_text() for text in display.plot().axes_[1].texts]


def test_the_name_of_chance_level_hides_no_point():
    ax = make().plot().axes_[1]
    name = next(text for text in ax.texts if text.get_text().startswith("chance level"))
    assert name.get_zorder() < min(line.get_zorder() for line in ax.lines)
