"""Optional dependencies: imported inside the call that needs them, with a message that says what to install."""

from importlib import import_module


def import_optional(name, *, extra, caller):
    """Import an optional package, or say which extra brings it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise ImportError(
            f"{caller} needs {package}, which is not installed. Install it with: pip install 'sktl[{extra}]'"
        ) from error
