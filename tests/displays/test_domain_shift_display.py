import numpy as np
import pytest

from sktl.displays import DomainShiftDisplay
from sktl.domain_adaptation import DomainShift


@pytest.fixture
def shift():
    return DomainShift(0.875, 0.75, 1.0, np.array([0.1, 0.2, 0.5, 0.3]), np.array([0.4, 0.9, 0.35, 0.6, 0.99]))


@pytest.fixture
def images():
    """The later, the brighter."""
    return np.full((5, 20, 30, 3), 10, dtype=np.uint8) * np.arange(1, 6, dtype=np.uint8)[:, None, None, None]


def test_the_most_telling_images_are_shown_with_their_scores(shift, images):
    display = DomainShiftDisplay.from_shift(shift, images, n=3).plot()
    assert display.indices == [4, 1, 3]
    assert [picture.max() for picture in display.pictures] == [50, 20, 40]
    assert [tile.get_title() for tile in display.axes_] == [
        "X_target[4]: 0.99",
        "X_target[1]: 0.90",
        "X_target[3]: 0.60",
    ]


def test_every_image_of_both_domains_is_counted(shift, images):
    display = DomainShiftDisplay.from_shift(shift, images).plot()
    counts = [sum(bar.get_height() for bar in bars) for bars in display.ax_.containers]
    assert counts == [4, 5]
    assert len(display.axes_) == 5
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == [
        "source, 4 images",
        "target, 5 images",
    ]


def test_it_is_drawn_into_an_axes_of_the_users(shift, images):
    from matplotlib import pyplot

    _, ax = pyplot.subplots()
    display = DomainShiftDisplay.from_shift(shift, images).plot(ax)
    assert display.figure_ is ax.figure
    assert ax.get_title(loc="left").startswith("AUC 0.875 (95 % interval 0.750 to 1.000):\n")


def test_rows_and_numbers_are_read_as_told(shift):
    rows = np.linspace(0, 60, 5)[:, None].repeat(12, axis=1)
    display = DomainShiftDisplay.from_shift(shift, rows, n=1, image_shape=(3, 4), value_range=(0, 120))
    assert (display.pictures[0].shape, display.pictures[0].max()) == ((3, 4, 3), 128)


def test_other_images_are_refused(shift, images):
    with pytest.raises(ValueError, match=r"that the shift was measured on, 5 of them\. Got 4 instead"):
        DomainShiftDisplay.from_shift(shift, images[:4])
    with pytest.raises(ValueError, match=r"n must be at least 1\. Got 0 instead"):
        DomainShiftDisplay.from_shift(shift, images, n=0)
