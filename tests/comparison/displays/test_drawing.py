import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktl.comparison._displays._drawing import MARKERS, PALETTE, as_written, lifts_of


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("frozen", "frozen"),
        ("5 $ or 6 $", r"5 \$ or 6 \$"),
        ("two\nlines\tand \x00 a bell \x07", "two lines and a bell"),
        ("x" * 40, "x" * 31 + "…"),
        (3, "3"),
    ],
)
def test_names_are_written_as_they_are_and_fit(text, written):
    assert as_written(text) == written


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
