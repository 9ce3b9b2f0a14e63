"""What a command learns from: the images and classes of a folder, or the images and targets of a table."""

from dataclasses import dataclass

from sktl._text import enumerated, printable
from sktl.cli._folders import load_classes, say_classes
from sktl.cli._places import keep_from_outputs
from sktl.cli._reporting import say

__all__ = ["Data", "is_verbose", "load_data", "load_test_folder", "named_targets", "read_table"]


@dataclass
class Data:
    """Images with what is to be learnt: the position of a name, a number, or a one for each of several labels."""

    images: object
    target: object
    names: list | None
    task: str = "classification"
    groups: object = None

    @property
    def labels(self):
        """The targets as an estimator is to learn them: names of classes, numbers, or a matrix."""
        import numpy as np

        return np.array(self.names)[self.target] if self.task == "classification" else self.target

    @property
    def classes(self):
        """The class of each image; None where there are no classes."""
        return self.target if self.task == "classification" else None

    def about(self):
        """Say in plain Python what is learnt."""
        if self.task == "regression":
            target = self.target
            numbers = {"min": float(target.min()), "max": float(target.max()), "mean": float(target.mean())}
            return {"task": self.task, "targets": numbers}
        if self.task == "multilabel":
            return {"task": self.task, "labels": self.names, "images_per_label": self.counts()}
        return {"task": self.task, "images_per_class": self.counts()}

    def counts(self):
        """Return the number of images of each class or label."""
        import numpy as np

        of_label = (
            self.target.sum(axis=0)
            if self.task == "multilabel"
            else np.bincount(self.target, minlength=len(self.names))
        )
        return dict(zip(self.names, of_label.tolist(), strict=True))


def load_data(context, *, verb):
    """List images and targets as the options of a command say, and say what was found."""
    options = context.params
    max_images, seed = options["max_images"], options["seed"]
    if options["table"] is None:
        folder, listed = options["folder"], is_verbose(context)
        return Data(*load_classes(folder, max_images, seed, verb=verb, listed=listed))
    bunch = read_table(context, options["target"] or "label")
    chosen = _subset(bunch, max_images, seed)
    data = Data(bunch.images[chosen], bunch.target[chosen], bunch.target_names, bunch.task)
    data.groups = None if bunch.groups is None else bunch.groups[chosen]
    _say_what_was_found(data, len(bunch.images), verb)
    return data


def load_test_folder(context, data):
    """List the images of another folder with the same classes."""
    if data.task != "classification":
        raise ValueError(
            f"--test-folder must come with classes, which name its folders. Got {data.task} instead: --cv scores on "
            "images held out."
        )
    folder = context.params["test_folder"]
    images, target, names = load_classes(folder, None, 0, verb="Scoring on", listed=is_verbose(context))
    unknown = sorted({*names} - {*data.names})
    if unknown:
        raise ValueError(
            f"--test-folder must have folders of the same classes. Got {enumerated(unknown)} instead, which are not "
            "trained on."
        )
    import numpy as np

    places = [data.names.index(name) for name in names]
    return Data(images, np.array(places)[target], data.names)


def read_table(context, target, **options):
    """Read the table that the options of a command name."""
    from sktl.images import load_image_table

    given = context.params
    columns = {"image": given["image"], "target": target, "group": given.get("group"), "root": given["root"]}
    bunch = load_image_table(
        given["table"], **columns, **{"task": given.get("task", "auto"), "separator": given["separator"], **options}
    )
    keep_from_outputs(bunch.images)
    return bunch


def named_targets(bunch):
    """Return the targets of a table as it names them: classes, lists of labels, or numbers; None where it has none."""
    if bunch.task == "classification":
        return [bunch.target_names[place] for place in bunch.target.tolist()]
    if bunch.task == "multilabel":
        names = bunch.target_names
        return [[name for name, has in zip(names, row, strict=True) if has] for row in bunch.target.tolist()]
    return None if bunch.target is None else bunch.target.tolist()


def is_verbose(context):
    """Whether --verbose was written, which lists more than is said without it."""
    return context.params["verbose"] and context.get_parameter_source("verbose").name == "COMMANDLINE"


def _subset(bunch, max_images, seed):
    """Choose so many rows at random, classes in the same shares."""
    import numpy as np

    from sktl._splits import stratified_subset

    strata = bunch.target if bunch.task == "classification" else np.zeros(len(bunch.images), dtype=int)
    return stratified_subset(strata, max_images, seed)


def _say_what_was_found(data, n_rows, verb):
    if data.task != "regression" and len(data.names) < 2:
        raise ValueError(
            f"--target must have at least two classes. Got {data.names[0]!r} alone instead. Name another column."
        )
    groups = "" if data.groups is None else f" and {len(set(data.groups.tolist()))} groups"
    kinds = {"classification": "classes", "multilabel": "labels"}
    if data.task == "regression":
        say(f"{verb} {len(data.images)} of {n_rows} images with numbers{groups}.")
        say(f"Numbers: from {data.target.min():g} to {data.target.max():g}, mean {data.target.mean():g}.")
        return
    say(f"{verb} {len(data.images)} of {n_rows} images in {len(data.names)} {kinds[data.task]}{groups}.")
    if data.task == "classification":
        say_classes(data.target, data.names)
    else:
        say(f"Images per label: {', '.join(f'{printable(name)} {count}' for name, count in data.counts().items())}.")
