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


@pytest.fixture
def many(make_comparison):
    """Thirty classes with an image each, of which a few are confused."""
    wrong = {"frozen": {7: (9, 0.9), 8: (9, 0.8), 20: (21, 0.7)}}
    return make_comparison(("frozen", "from_scratch"), y=np.arange(30), wrong=wrong)


def test_of_many_classes_those_are_told_apart_that_are_confused_most(many):
    whole = confusion_display(many, "frozen", most=None)
    assert whole.confusion_matrix.shape == (30, 30)
    display = confusion_display(many, "frozen", most=5)
    assert display.display_labels == ["7", "8", "9", "20", "21", "25 others"]
    expected = np.zeros((6, 6), dtype=int)
    expected[0, 2] = expected[1, 2] = expected[3, 4] = 1
    expected[2, 2] = expected[4, 4] = 1
    expected[5, 5] = 25
    np.testing.assert_array_equal(display.confusion_matrix, expected)
    assert confusion_display(many, "frozen").confusion_matrix.shape == (21, 21)


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
@pytest.mark.parametrize("most", [2, 7, 29, 30])
def test_the_others_are_what_joining_their_labels_gives(many, most, normalize):
    display = confusion_display(many, "frozen", most=most, normalize=normalize)
    kept = [int(name) for name in display.display_labels if name.isdigit()]
    assert len(kept) == most
    found = many.out_of_fold("frozen")
    joined = [np.where(np.isin(found[name], kept), found[name], 99) for name in ("y_true", "y_pred")]
    labels = [*kept, 99] if most < 30 else kept
    np.testing.assert_array_equal(
        display.confusion_matrix, confusion_matrix(*joined, labels=labels, normalize=normalize)
    )


def test_predictions_of_a_class_that_y_does_not_have_are_left_out(make_comparison):
    display = confusion_display(make_comparison(wrong={"frozen": {0: (77, 0.9)}}), "frozen")
    assert display.confusion_matrix.sum() == 29
