"""Every error and warning that sktl raises itself.

::

    SktlError (Exception)
    ├── ImageReadError (ValueError)        one picture cannot be read; carries index, path and reason
    ├── BadImagesError (ValueError)        pictures cannot be read; carries an ImageReadError for each
    ├── WeightsError (ValueError)          pretrained weights cannot be used
    │   ├── WeightsNotFoundError           the file is not there and cannot be downloaded
    │   └── WeightsMismatchError           the file is there but does not fit the network
    ├── FrozenPartChangedError (RuntimeError)   a weight below the cut moved during training
    └── TrainingDivergedError (RuntimeError)    the loss or the weights are no longer numbers

    PhotographsWarning (UserWarning)       the bundled network is shown photographs

Each error also inherits from the built-in one that fits, so that ``except ValueError`` goes on working.
"""

__all__ = [
    "BadImagesError",
    "FrozenPartChangedError",
    "ImageReadError",
    "PhotographsWarning",
    "SktlError",
    "TrainingDivergedError",
    "WeightsError",
    "WeightsMismatchError",
    "WeightsNotFoundError",
]


class SktlError(Exception):
    """Base of all errors that sktl raises itself."""


class ImageReadError(SktlError, ValueError):
    """An image cannot be read.

    Parameters
    ----------
    reason : str
        Why, as one phrase.
    index : int or None, default=None
        Position of the image in `X`; None when it was read on its own.
    path : str or None, default=None
        File that holds the image; None when it came from memory.

    Attributes
    ----------
    reason, index, path
        As passed.
    """

    def __init__(self, reason: str, index: int | None = None, path: str | None = None) -> None:
        self.reason = reason
        self.index = index
        self.path = path
        super().__init__(reason, index, path)

    def __str__(self):
        name = "the image" if self.index is None else f"image {self.index}"
        where = "" if self.path is None else f" ({self.path!r})"
        return f"{name}{where}: {self.reason}"


class BadImagesError(SktlError, ValueError):
    """Some of many images cannot be read, found out in one pass over all of them.

    Parameters
    ----------
    message : str
        How many, the first of them with their reasons, and what to do.
    bad_images : list of ImageReadError
        All of them, in the order of `X`.

    Attributes
    ----------
    bad_images
        As passed.
    """

    def __init__(self, message: str, bad_images: list[ImageReadError]) -> None:
        self.bad_images = list(bad_images)
        super().__init__(message, self.bad_images)

    def __str__(self):
        return self.args[0]


class WeightsError(SktlError, ValueError):
    """Pretrained weights cannot be used."""


class WeightsNotFoundError(WeightsError):
    """A weight file is neither on disk nor to be downloaded."""


class WeightsMismatchError(WeightsError):
    """A weight file does not fit the network, or is not the file it was."""


class FrozenPartChangedError(SktlError, RuntimeError):
    """A parameter or buffer of the frozen part moved while the rest was trained."""


class TrainingDivergedError(SktlError, RuntimeError):
    """The loss of a training, its weights or what they give are no longer finite numbers."""


class PhotographsWarning(UserWarning):
    """The bundled network, which has never seen a photograph, is shown photographs; given once in a process."""
