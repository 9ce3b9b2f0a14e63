import numpy as np
import pytest
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from sktl.displays import confusion_display

WRONG = {"fine_tuned": {0: (1, 0.9), 3: (1, 0.8), 5: (0, 0.7)}, "frozen": {0: (2, 0.6)}}


def test_counts_are_scikit_learns(make_comparison):
    comparison = make_comparison(wrong=WRONG)
    display = confusion_display(comparison, "fine_tuned")
    assert isinstance(display, ConfusionMatrixDisplay)
    found = comparison.out_of_fold("fine_tuned")
    np.testing.assert_array_equal(display.confusion_matrix, confusion_matrix(found["y_true"], found["y_pred"]))
    assert display.confusion_matrix.tolist() == [[8, 2, 0], [0, 10, 0], [1, 0, 9]]


def test_the_best_candidate_is_taken(make_comparison):
    assert confusion_display(make_comparison(wrong=WRONG)).confusion_matrix[0, 1] == 2


@pytest.mark.parametrize(
    ("y", "target_names", "shown"),
    [
        (np.arange(30) % 3, None, ["0", "1", "2"]),
        (np.arange(30) % 3, ["ant", "bee", "cat", "dog"], ["ant", "bee", "cat"]),
        (np.array(["x", "y"])[np.arange(30) % 2], None, ["x", "y"]),
        (np.array(["x", "y"])[np.arange(30) % 2], ["Ex", "Why"], ["Ex", "Why"]),
        (np.array(["x", "y"], dtype=object)[np.arange(30) % 2], None, ["x", "y"]),
        (np.arange(30) % 2 + 5, ["five", "six"], ["five", "six"]),
    ],
)
def test_classes_go_by_their_names(make_comparison, y, target_names, shown):
    display = confusion_display(make_comparison(y=y), "frozen", target_names=target_names)
    assert display.display_labels == shown


def test_shares_instead_of_counts(make_comparison):
    display = confusion_display(make_comparison(wrong=WRONG), "fine_tuned", normalize="true")
    np.testing.assert_allclose(display.confusion_matrix.sum(axis=1), 1)


def test_names_that_do_not_fit_are_refused(make_comparison):
    with pytest.raises(ValueError, match=r"a name for each of the 3 classes\. Got 2 instead"):
        confusion_display(make_comparison(), target_names=["ant", "bee"])
    with pytest.raises(ValueError, match="candidate must be one of"):
        confusion_display(make_comparison(), "nobody")
    with pytest.raises(ValueError, match="must be classification"):
        confusion_display(make_comparison(task="regression", y=np.linspace(0, 1, 30)))


def test_names_with_dollars_are_drawn_as_they_are(make_comparison):
    display = confusion_display(make_comparison(), target_names=["5 $", "$a$", r"\$_b$"]).plot()
    display.figure_.canvas.draw()
