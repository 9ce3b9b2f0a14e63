"""Files of repositories on the Hugging Face Hub: from the cache of this machine, or else downloaded into it."""

import os
import sys
from pathlib import Path

from sktl._optional import import_optional
from sktl.exceptions import WeightsNotFoundError

__all__ = ["cached_hub_file", "hub_file"]


def hub_file(repository, files, *, name, extra, revision=None):
    """Return the path of the first of some files that a repository has.

    A file in the Hub's cache (``HF_HUB_CACHE``, ``HF_HOME``) needs no network connection. A download is announced on
    standard error, goes on where a former one broke off, and comes into the cache in one step when it is whole.
    """
    path = cached_hub_file(repository, files, name=name, extra=extra, revision=revision)
    if path is not None:
        return path
    hub = _hub(extra, name)
    for file in files:
        try:
            return _download(hub, repository, file, revision)
        except hub.errors.EntryNotFoundError as error:
            # Both kinds are entries that were not found: here the repository has not got it, there nobody answered.
            if file == files[-1] or isinstance(error, hub.errors.LocalEntryNotFoundError):
                raise WeightsNotFoundError(_how_to_get(hub, repository, file, revision, name, error)) from error
        except Exception as error:  # connections fail in as many ways as there are libraries between
            raise WeightsNotFoundError(_how_to_get(hub, repository, file, revision, name, error)) from error
    return None


def cached_hub_file(repository, files, *, name, extra, revision=None):
    """Return the path of the first of some files of a repository that is on this machine, or None."""
    hub = _hub(extra, name)
    paths = (hub.try_to_load_from_cache(repository, file, revision=revision) for file in files)
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def _hub(extra, name):
    return import_optional("huggingface_hub", extra=extra, caller=f"the backbone {name!r}")


def _download(hub, repository, file, revision):
    print(f"Downloading: {file!r} of {repository!r} to {_folder(hub, repository)}", file=sys.stderr)
    return Path(hub.hf_hub_download(repository, file, revision=revision))


def _folder(hub, repository):
    return str(Path(hub.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}")


def _how_to_get(hub, repository, file, revision, name, error):
    home = next((key for key in ("HF_HUB_CACHE", "HF_HOME") if key in os.environ), None)
    home = "HF_HOME is not set" if home is None else f"{home} is {os.environ[home]!r}"
    pinned = f" --revision {revision}" if revision else ""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"the weights of {name} are not on this machine and cannot be downloaded ({reason}). Looked for {file!r} in "
        f"{_folder(hub, repository)!r} ({home}). Where there is a network, run: hf download {repository} {file}{pinned}"
        ", or pass the path of a file as weights=. The backbone 'tiny_fractal' ships with sktl and needs no network."
    )
