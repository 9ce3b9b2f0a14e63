"""How good predictions are, for each kind of target, and how good they would be without looking."""

__all__ = ["CHANCE", "METRICS", "score", "score_of_answers", "score_of_chance"]

METRICS = {"classification": "accuracy", "multilabel": "f1_of_all_labels", "regression": "r2"}
# Of always giving the same answer.
CHANCE = {
    "classification": "accuracy_of_the_most_frequent_class",
    "multilabel": "f1_of_the_most_frequent_labels",
    "regression": "r2_of_the_mean",
}


def score(task, true, predicted):
    """Return accuracy, the F1 of all labels of all images taken together, or R²."""
    from sklearn.metrics import accuracy_score, f1_score, r2_score

    if task == "multilabel":
        return float(f1_score(true, predicted, average="micro", zero_division=0.0))
    return float((accuracy_score if task == "classification" else r2_score)(true, predicted))


def score_of_answers(task, true, said):
    """Return the score of answers as they are printed: names, lists of names, or numbers."""
    if task == "multilabel":
        from sklearn.preprocessing import MultiLabelBinarizer

        matrix = MultiLabelBinarizer().fit_transform([*true, *said])
        true, said = matrix[: len(true)], matrix[len(true) :]
    return score(task, true, said)


def score_of_chance(task, trained, true):
    """Return the score of the one answer that fits the training targets best."""
    import numpy as np

    if task == "regression":
        return score(task, true, np.full(len(true), trained.mean()))
    if task == "multilabel":
        shares = trained.mean(axis=0)
        answers = [shares >= least for least in np.unique(shares)]
        best = max(answers, key=lambda answer: score(task, trained, np.tile(answer, (len(trained), 1))))
        return score(task, true, np.tile(best, (len(true), 1)))
    classes, counts = np.unique(trained, return_counts=True)
    return score(task, true, np.full(len(true), classes[counts.argmax()]))
