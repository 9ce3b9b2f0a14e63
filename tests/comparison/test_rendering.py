import numpy as np
import pytest

from sktl.comparison import TransferComparison
from sktl.comparison._rendering import number, seconds


def make(name="frozen"):
    scores = {"from_scratch": np.array([0.6, 0.62, 0.58, 0.61, 0.59]), name: np.array([0.8, 0.81, 0.79, 0.82, 0.80])}
    times = {candidate: np.full(5, 12.5) for candidate in scores}
    return TransferComparison(
        scores,
        times,
        times,
        n_trained_parameters={"from_scratch": 722_000, name: None},
        transfer={"from_scratch": False, name: True},
        n_train=np.full(5, 80),
        n_test=np.full(5, 20),
        seeds=(0, 1, 2, 3, 4),
        baseline="from_scratch",
        scoring="accuracy",
        rope=0.01,
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
    assert lines[0].startswith("Transfer helps: 'frozen' scores 0.204 higher")
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
    assert html.count("<tr>") == 3
