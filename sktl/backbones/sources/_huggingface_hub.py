"""Files of a repository of the Hugging Face Hub: found in its cache on this machine, or downloaded, and compared."""

import hashlib
import json
import os
import sys
from pathlib import Path

from sktl._optional import import_optional
from sktl.backbones.sources._weights import NEED_NO_NETWORK
from sktl.exceptions import WeightsError, WeightsNotFoundError

__all__ = ["CONFIGURATION", "Repository", "cached_hub_file", "facts_in", "hub_file", "weight_files_in"]

CONFIGURATION, PROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_LENGTH_OF_SHA256, _LENGTH_OF_COMMIT = 64, 40
_BLOCK = 1 << 20


class Repository:
    """One version of a repository, whose files come from one commit.

    What is on this machine is taken from there without asking the Hub. Its own library downloads: it goes on where a
    download was broken off, and moves a file into the cache when it is whole.
    """

    def __init__(self, name, revision=None):
        self.name = name
        self._library = import_optional("huggingface_hub", extra="hub", caller=f"the network {name!r}")
        self._revision = revision
        self._has_downloaded = False
        # All other files are read from the commit that this one belongs to.
        self.folder = self._file(CONFIGURATION).parent
        self._revision = self.folder.name

    @property
    def commit(self):
        """The commit that the files belong to."""
        return self.folder.name

    def fetch(self, *, weights):
        """Get all files of a network, its weights if they are asked for, and return the folder that holds them."""
        self._file(PROCESSOR, optional=True)
        if weights and self._file(_WEIGHTS, optional=True) is None:
            index = self._file(_INDEX, optional=True)
            if index is None:
                raise WeightsError(self._without_safetensors())
            for shard in _shards(index):
                self._file(shard)
        # For its licence: not worth a question to the Hub when all else is here.
        if self._has_downloaded:
            self._file(CARD, optional=True)
        return self.folder

    def _file(self, name, *, optional=False):
        """Return the path of a file of the repository; None where it has none of the name."""
        try:
            path = self._library.try_to_load_from_cache(self.name, name, revision=self._revision)
        except self._library.errors.HFValidationError as error:
            raise ValueError(
                f"backbone must be a name, or 'owner/name' of the Hugging Face Hub. Got {self.name!r} instead."
            ) from error
        if path is None:
            path = self._download(name)
        path = Path(path) if isinstance(path, str) else None
        if path is None and not optional:
            raise WeightsNotFoundError(self._says(f"has no file {name!r}"))
        return path

    def _download(self, name):
        errors = self._library.errors
        print(f"Downloading {name} of {self.name} from the Hugging Face Hub", file=sys.stderr)
        try:
            path = self._library.hf_hub_download(self.name, name, revision=self._revision)
        except errors.GatedRepoError as error:
            problem = "is open to those only who accept its conditions: do so on its page, and run: hf auth login"
            raise WeightsNotFoundError(self._says(problem)) from error
        except errors.RepositoryNotFoundError as error:
            problem = "is not on the Hub, or private: check its name, or run: hf auth login"
            raise WeightsNotFoundError(self._says(problem)) from error
        except errors.RevisionNotFoundError as error:
            raise WeightsNotFoundError(self._says(f"has no revision {self._revision!r}")) from error
        except errors.LocalEntryNotFoundError as error:  # before the next: it is one of those, too
            raise WeightsNotFoundError(self._how_to_get(name, error.__cause__ or error)) from error
        except errors.EntryNotFoundError:
            return None
        except Exception as error:  # of the network: of several libraries, not all of which are OSErrors
            raise WeightsNotFoundError(self._how_to_get(name, error)) from error
        self._has_downloaded = True
        _check_hash(Path(path), self.name)
        return path

    def _says(self, problem):
        revision = "" if self._revision is None else f" (revision {self._revision!r})"
        return f"backbone must be a repository of the Hugging Face Hub. {self.name!r}{revision} {problem}."

    def _without_safetensors(self):
        return (
            f"the weights of {self.name} must be a safetensors file ({_WEIGHTS!r}). The repository has none at this "
            "revision, and its other files are pickles, which would run code. Name a revision with safetensors "
            f"(for instance '{self.name}@refs/pr/1' where somebody has converted them), or where you trust it, load it "
            "with transformers, write it with save_pretrained(folder), and pass that folder as backbone=."
        )

    def _how_to_get(self, name, reason):
        cache = self._library.constants.HF_HUB_CACHE
        revision = "" if self._revision is None else f" --revision {self._revision}"
        reason = str(reason).strip().split("\n")[0] or type(reason).__name__
        return (
            f"{name!r} of {self.name} is not whole on this machine and cannot be downloaded ({reason}). Looked in "
            f"{str(cache)!r}. Where there is a network, run: hf download {self.name}{revision} and copy that folder, "
            "or pass a folder with its files as backbone=. What has arrived of a file that was broken off is kept, and "
            f"the next try goes on there. {NEED_NO_NETWORK}"
        )


def _shards(index):
    """Return the names of the files that weights are spread over."""
    try:
        names = {*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{str(index)!r} must list the files of weights. It cannot be read ({error!r}).") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise WeightsError(f"{str(index)!r} must name safetensors files beside it. Got {name!r} instead.")
    return sorted(names)


def _check_hash(path, repository):
    """Compare a downloaded file with its hash, by which the cache calls it: the SHA-256, or git's own for small files.

    Where a file system has no links, the cache keeps no hashes.
    """
    stored = path.resolve()
    expected = stored.name
    if len(expected) == _LENGTH_OF_SHA256:
        digest = hashlib.sha256()
    elif len(expected) == _LENGTH_OF_COMMIT:
        digest = hashlib.sha1(b"blob %d\0" % stored.stat().st_size, usedforsecurity=False)
    else:
        return
    with stored.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() == expected:
        return
    path.unlink()
    if stored != path:
        stored.unlink()
    raise WeightsError(
        f"{path.name!r} of {repository} must have the hash that the Hub gives for it, {expected[:12]}…. What was "
        f"downloaded has {digest.hexdigest()[:12]}…, and was deleted. Try again, or check who answers for the Hub."
    )


def weight_files_in(folder, name):
    """Return the safetensors files that hold the weights of a folder."""
    folder = Path(folder)
    whole, index = folder / _WEIGHTS, folder / _INDEX
    if not whole.is_file() and not index.is_file():
        raise WeightsError(
            f"the weights of {name} must be a safetensors file. Found neither {_WEIGHTS!r} nor {_INDEX!r} in "
            f"{str(folder)!r} instead: pickles are not read. Where you trust them, load them with transformers, and "
            "write them with save_pretrained(folder)."
        )
    files = [whole] if whole.is_file() else [folder / shard for shard in _shards(index)]
    for file in files:
        if not file.is_file():
            raise WeightsNotFoundError(
                f"the weights of {name} must be whole. Found no {file.name!r}, which {_INDEX!r} names, in "
                f"{str(folder)!r}: copy or download it again."
            )
    return files


def facts_in(folder):
    """Return what the model card in a folder states: licence and training data."""
    facts = {}
    card = Path(folder) / CARD
    if card.is_file():
        library = import_optional("huggingface_hub", extra="hub", caller="a network of the Hugging Face Hub")
        try:
            facts = library.metadata_load(card) or {}
        except Exception:  # somebody's YAML; what cannot be read states nothing
            facts = {}
    data = facts.get("datasets")
    data = ", ".join(map(str, data)) if isinstance(data, list) else data
    return {
        "license": facts["license"] if isinstance(facts.get("license"), str) else "unknown",
        "trained_on": data if isinstance(data, str) and data else "unknown",
    }


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
        except WeightsError:
            raise
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
    path = Path(hub.hf_hub_download(repository, file, revision=revision))
    _check_hash(path, repository)
    return path


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
        f", or pass the path of a file as weights=. {NEED_NO_NETWORK}"
    )
