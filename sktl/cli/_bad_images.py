"""Images that cannot be read: what a command does about them, each said once."""

from dataclasses import replace

from sktl._text import enumerated
from sktl.cli._reporting import bars_wanted, say, unreadable
from sktl.exceptions import BadImagesError, ImageReadError

__all__ = ["done_without_bad_images", "without_bad_images"]


def done_without_bad_images(work, data, on_error, **options):
    """Return what the work on images gives, and the paths of those that it had to do without.

    The work reads the images itself, so nothing is read beforehand. Should it come upon one that cannot be read, all
    such ones are found, and it begins anew without them; what it has embedded is in the store.
    """
    try:
        return work(data), []
    except (ImageReadError, BadImagesError):
        rest, bad = without_bad_images(data, on_error, **options)
        if not bad:  # it can be read by now, or is none of these
            raise
    return work(rest), bad


def without_bad_images(data, on_error, *, n_jobs, verbose):
    """Return the images that can be read with what belongs to them, and the paths of the others, each said once."""
    import numpy as np

    from sktl.images import as_images
    from sktl.inference import bad_images_error, find_bad_images

    bad = find_bad_images(as_images(data.images), n_jobs=n_jobs, verbose=bars_wanted(verbose))
    if not bad:
        return data, []
    if on_error == "raise" or len(bad) == len(data.images):
        raise bad_images_error(list(bad.values()), len(data.images))
    for error in bad.values():
        say(f"Left out: {unreadable(error.path, error.reason)}")
    rest = np.setdiff1d(np.arange(len(data.images)), list(bad))
    groups = None if data.groups is None else data.groups[rest]
    left = replace(data, images=data.images[rest], target=data.target[rest], groups=groups)
    before, after = (({} if data.names is None else some.counts()) for some in (data, left))
    if empty := [name for name, count in after.items() if count == 0 < before[name]]:
        raise ValueError(
            f"each class must have at least one image that can be read. Got none for {enumerated(empty)} instead. "
            "Put images there, or remove the class."
        )
    return left, [error.path for error in bad.values()]
