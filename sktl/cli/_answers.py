"""What a model says of images, by its kind: a class, several labels, or numbers."""

__all__ = ["ClassAnswers", "LabelAnswers", "NumberAnswers", "answers_of"]


class ClassAnswers:
    """One class for each image, and how probable it is."""

    task = "classification"

    def __init__(self, estimator, top, proba):
        self.names = [str(name) for name in estimator.classes_]
        self._outputs, self._top, self._proba = estimator.predict_proba, top, proba

    def outputs(self, paths):
        """Return a probability for each image and class."""
        return self._outputs(paths)

    def of(self, own):
        """Return what is said of an image with these outputs."""
        # The first of equals, as the estimators do.
        best = (-own).argsort(kind="stable")[: self._top]
        ranked = [{"class": self.names[k], "probability": float(own[k])} for k in best]
        return {**ranked[0], "top": ranked, **_probabilities(self, own)}

    def line(self, row):
        """Return the cells of a line for people."""
        cells = [cell for each in row["top"] for cell in (each["class"], f"{each['probability']:.4f}")]
        return cells + _shown_probabilities(row)

    def header(self, rows):
        """Return the names of the columns of a table."""
        n_top = _n_top(rows)
        header = ["class", "probability"]
        return header + [f"{name}_{rank}" for rank in range(2, n_top + 1) for name in ("class", "probability")]

    def cells(self, row, rows):
        """Return the cells of the table, which are empty where an image could not be read."""
        return [value for each in row.get("top", []) for value in each.values()] or [""] * (2 * _n_top(rows))

    def answer(self, row):
        """Return what is compared with the truth."""
        return row["class"]

    def written(self, target):
        """Return the truth as a cell."""
        return target


class LabelAnswers:
    """Any number of labels for each image: those more probable than not."""

    task = "multilabel"

    def __init__(self, estimator, names, separator, proba):
        self.names = names
        self._outputs, self._separator, self._proba = estimator.predict_proba, separator, proba

    def outputs(self, paths):
        """Return a probability for each image and label."""
        return self._outputs(paths)

    def of(self, own):
        """Return what is said of an image with these outputs."""
        labels = [name for name, probability in zip(self.names, own, strict=True) if probability > 0.5]
        return {"labels": labels, **_probabilities(self, own)}

    def line(self, row):
        """Return the cells of a line for people."""
        return [self._separator.join(row["labels"]), *_shown_probabilities(row)]

    def header(self, rows):
        """Return the names of the columns of a table."""
        return ["labels"]

    def cells(self, row, rows):
        """Return the cells of the table."""
        return [self._separator.join(row.get("labels", []))]

    def answer(self, row):
        """Return what is compared with the truth."""
        return row["labels"]

    def written(self, target):
        """Return the truth as a cell."""
        return self._separator.join(target)


class NumberAnswers:
    """One number for each image, or several."""

    task = "regression"
    names = ()

    def __init__(self, estimator):
        self._predict = estimator.predict

    def outputs(self, paths):
        """Return one number or more for each image."""
        predicted = self._predict(paths)
        return predicted.reshape(len(predicted), -1)

    def of(self, own):
        """Return what is said of an image with these outputs."""
        return {"value": float(own[0])} if len(own) == 1 else {"values": own.tolist()}

    def line(self, row):
        """Return the cells of a line for people."""
        return [f"{value:.6g}" for value in self._values(row)]

    def header(self, rows):
        """Return the names of the columns of a table."""
        n_values = max((len(self._values(row)) for row in rows), default=1)
        return ["value"] if n_values <= 1 else [f"value_{number}" for number in range(1, n_values + 1)]

    def cells(self, row, rows):
        """Return the cells of the table, which are empty where an image could not be read."""
        return self._values(row) or [""] * len(self.header(rows))

    def answer(self, row):
        """Return what is compared with the truth."""
        return row["value"]

    def written(self, target):
        """Return the truth as a cell."""
        return target

    def _values(self, row):
        return [row["value"]] if "value" in row else row.get("values", [])


def answers_of(estimator, model, *, top, proba, separator):
    """Find out what a model says, and refuse options that are for another kind."""
    is_classifier = hasattr(estimator, "classes_")
    if is_classifier and isinstance(estimator.classes_, list):
        raise ValueError(
            f"MODEL must predict one column of labels. Got one of {len(estimator.classes_)} columns instead. Predict "
            "in Python, with sktl.models.load_model."
        )
    several = is_classifier and getattr(getattr(estimator, "_labels", None), "multilabel", False)
    if is_classifier and not several:
        return ClassAnswers(estimator, top, proba)
    if top != 1 or (proba and not is_classifier):
        option = "--top" if top != 1 else "--proba"
        said = "labels that an image may have several of" if several else "numbers"
        raise ValueError(
            f"{option} must come with a model of classes. Got one that gives {said} instead. Leave it out."
        )
    if several:
        return LabelAnswers(estimator, _names_in(model, len(estimator.classes_)), separator, proba)
    return NumberAnswers(estimator)


def _names_in(model, n_labels):
    """Return the names of the labels that `sktl train` has put into the file, or else their numbers."""
    from sktl.models.metadata import metadata_of

    found = metadata_of(model)
    for key in ("training", "labels"):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, list) and len(found) == n_labels and all(isinstance(name, str) for name in found):
        return found
    return [str(number) for number in range(n_labels)]


def _probabilities(answers, own):
    if not answers._proba:
        return {}
    return {"probabilities": dict(zip(answers.names, own.tolist(), strict=True))}


def _shown_probabilities(row):
    return [f"{name}={probability:.4f}" for name, probability in row.get("probabilities", {}).items()]


def _n_top(rows):
    return max((len(row.get("top", [])) for row in rows), default=1)
