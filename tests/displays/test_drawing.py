import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktl._text import LONGEST, as_written, written_apart
from sktl.displays._drawing import MARKERS, PALETTE, lifts_of


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("frozen", "frozen"),
        ("5 $ or 6 $", r"5 \$ or 6 \$"),
        ("two\nlines\tand \x00 a bell \x07", "two lines and a bell"),
        ("x" * 40, "x" * 16 + "…" + "x" * 15),
        (3, "3"),
    ],
)
def test_names_are_written_as_they_are_and_fit(text, written):
    assert as_written(text) == written


def test_long_names_that_differ_at_their_end_keep_it():
    assert as_written("fine_tuned_with_all_stages_and_rate_0.1") == "fine_tuned_with_…es_and_rate_0.1"


def test_names_that_come_out_the_same_are_numbered():
    long = ["x" * 30 + middle + "y" * 30 for middle in "abc"]
    written = written_apart([*long, "$1", "x" * 14 + "…" + "y" * 13 + " (1)"])
    assert written[3] == r"\$1"
    assert len(set(written)) == 5
    assert max(len(name.replace("\\", "")) for name in written) <= LONGEST
    assert [name[-4:] for name in written[:3]] == [" (2)", " (3)", " (4)"]


def test_texts_at_one_place_are_stacked_and_others_stay():
    _, ax = plt.subplots()
    lifts = lifts_of(ax, [(0.5, 0.5), (0.5, 0.5), (0.1, 0.1), (0.5, 0.5)], ["first", "second", "far", "third"])
    assert lifts.tolist() == [0, 13, 0, 26]


def test_no_two_texts_overlap_wherever_they_are():
    rng = np.random.default_rng(0)
    _, ax = plt.subplots()
    places, texts = rng.uniform(size=(12, 2)) * 0.4 + 0.2, [f"class {i}" for i in range(12)]
    for text, place, lift in zip(texts, places, lifts_of(ax, places, texts), strict=True):
        ax.annotate(text, place, (0, lift), textcoords="offset points", ha="center", fontsize=9)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_colours_and_shapes_are_all_different():
    assert len(set(PALETTE)) == len(PALETTE) == 8
    assert len(set(MARKERS)) == len(MARKERS)
