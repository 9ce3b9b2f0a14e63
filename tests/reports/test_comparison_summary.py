from dataclasses import replace

import numpy as np
import pytest

from sktl._text import digits_for, number, seconds
from sktl.comparison import Run, TransferComparison


def make(name="frozen"):
    scores = {"from_scratch": [0.6, 0.62, 0.58, 0.61, 0.59], name: [0.8, 0.81, 0.79, 0.82, 0.80]}
    runs = tuple(
        Run(candidate, split, {"accuracy": score}, 12.5, 12.5, 722_000 if candidate == "from_scratch" else None)
        for candidate in scores
        for split, score in enumerate(scores[candidate])
    )
    return TransferComparison(
        runs,
        splits=tuple((np.arange(80), np.arange(80, 100)) for _ in range(5)),
        y=np.arange(100) % 2,
        seeds=(0, 1, 2, 3, 4),
        baseline="from_scratch",
        scoring="accuracy",
        rope=0.01,
        transfer={"from_scratch": False, name: True},
        settings={},
    )


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (0.5, False, "0.500"),
        (0.5, True, "+0.500"),
        (-0.25, False, "-0.250"),
        (-1234.56, False, "-1,234.6"),
        (0.0, True, "+0.000"),
        (-1e-17, True, "+0.000"),
        (-0.0004, False, "0.000"),
        (None, True, "–"),
        (float("nan"), False, "–"),
    ],
)
def test_scores_are_written_with_three_decimals(value, sign, text):
    assert number(value, sign=sign) == text


@pytest.mark.parametrize(("value", "text"), [(0.034, "0.03"), (1.26, "1.3"), (75.4, "75")])
def test_seconds_are_written_with_two_digits(value, text):
    assert seconds(value) == text


def test_text_is_an_aligned_table_with_the_verdict_on_top_and_its_limits_below():
    lines = str(make()).splitlines()
    assert lines[0].startswith("Transfer helps: 'frozen' scores 0.804 in accuracy, 0.204 higher (95 % interval")
    assert lines[2].split()[:3] == ["candidate", "accuracy", "SD"]
    assert lines[4].index("0.600") + 5 == lines[2].index("accuracy") + 8
    assert "722,000" in lines[4]
    assert lines[4].endswith("baseline")
    assert lines[5].endswith("transfer helps")
    assert "not a standard error" in str(make())
    assert lines[-1] == "This is about this data set and this recipe; it is not a statement about other data."
    assert max(map(len, lines)) <= 130


def test_html_escapes_names():
    html = make("<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<tr>") == 6


def richer(n_metrics=2, name="frozen", **fields):
    """A comparison with costs, other scores and predictions."""
    names = [name, "from_scratch"]
    metrics = ["accuracy", *(f"balanced_accuracy_{number}" for number in range(1, n_metrics))]
    labels = np.arange(100) % 2
    runs = tuple(
        Run(
            one,
            split,
            dict.fromkeys(metrics, (0.8 if one == name else 0.6) + split / 100),
            1.0,
            1.0,
            n_parameters=690_552,
            n_images_through_network=1234,
            peak_memory=987_654_321,
            predicted=[*labels[80:90].tolist(), *([1 - split % 2] * 10)] if one == name else [0] * 20,
        )
        for one in names
        for split in range(5)
    )
    return replace(make(name), runs=runs, y=labels, **fields)


def test_costs_and_what_holds_image_by_image_stand_in_a_table_of_their_own():
    lines = str(richer(1)).splitlines()
    (start,) = [number for number, line in enumerate(lines) if "images through network" in line and "peak" in line][:1]
    assert lines[start].split("  ")[0] == "candidate"
    (row,) = [line.split() for line in lines[start + 2 : start + 4] if line.startswith("frozen")]
    assert row[3:6] == ["1,234", "690,552", "988"]
    assert "descriptive only" in str(richer(1))
    assert "image by image" not in str(make())


def test_other_scores_stand_beside_their_differences():
    lines = str(richer(3)).splitlines()
    (header,) = [line for line in lines if "balanced_accuracy_2" in line]
    assert header.split() == ["candidate", "balanced_accuracy_1", "difference", "balanced_accuracy_2", "difference"]
    row = lines[lines.index(header) + 2]
    assert row.split() == ["frozen", "0.820", "+0.200", "0.820", "+0.200"]
    assert [metric for metric, _ in richer(3).to_dict()["metrics"].items()] == richer(3).metrics


def test_no_line_is_wider_than_a_screen_however_many_scores_there_are():
    text = str(richer(12, settings={"near_duplicates": "word " * 60}))
    assert max(map(len, text.splitlines()[1:])) <= 130  # the sentence on top is as long as its names
    assert text.count("balanced_accuracy_11") == 1


def test_every_table_is_in_the_html_and_escaped():
    html = richer(3, name="<b>bold</b>")._repr_html_()
    assert html.count("<table>") == 3
    assert "<b>" not in html
    assert "descriptive only" in html


@pytest.mark.parametrize(
    ("scores", "digits"),
    [([0.5, 0.01], 3), ([[0.1, 0.2], [-3000.0]], 3), ([0.051], 4), ([2e-4], 6), ([0.0], 3), ([float("nan"), 0.02], 4)],
)
def test_scores_that_are_all_small_get_more_decimals(scores, digits):
    assert digits_for(scores) == digits


def test_the_smallest_scores_are_written_with_a_power_of_ten():
    assert number(1.234e-9, sign=True, digits=11) == "+1.23e-09"
    assert number(0.0, digits=11) == "0"


@pytest.mark.parametrize(("unit", "mean"), [(1e-3, "0.000804"), (1e-9, "8.04e-10")])
def test_a_comparison_in_a_small_unit_shows_its_scores(unit, mean):
    comparison = make()
    scaled = tuple(replace(run, scores={"accuracy": unit * run.scores["accuracy"]}) for run in comparison.runs)
    small = replace(comparison, runs=scaled, rope=0.0)
    assert small.headline.verdict == "transfer helps"
    for shown in (str(small), small._repr_html_()):
        assert mean in shown
        assert "+0.000 " not in shown
