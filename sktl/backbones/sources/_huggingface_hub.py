"""Files of a repository of the Hugging Face Hub: found in its cache on this machine, or downloaded, and compared."""

import hashlib
import json
import os
import sys
from pathlib import Path

from sktl._optional import import_optional
from sktl.backbones.sources._weights import NEED_NO_NETWORK
from sktl.exceptions import WeightsError, WeightsNotFoundError

__all__ = ["CONFIGURATION", "Repository", "facts_in", "weight_files_in"]

CONFIGURATION, PROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_LENGTH_OF_SHA256, _LENGTH_OF_COMMIT = 64, 40
_BLOCK = 1 << 20


class Repository:
    """One version of a repository.

    What is on this machine (``HF_HUB_CACHE``, ``HF_HOME``) is taken from there without asking the Hub. Its own library
    downloads: it goes on where a download was broken off, and moves a file into the cache when it is whole.
    """

    def __init__(self, name, revision=None, *, extra="hub", otherwise="pass a folder with its files as backbone="):
        self.name = name
        self._otherwise = otherwise  # what to do without the cache of the Hub
        self._library = import_optional("huggingface_hub", extra=extra, caller=f"the network {name!r}")
        self._revision = revision
        self._has_downloaded = False

    def fetch_network(self, *, weights):
        """Get all files of a network, its weights if they are asked for, and return the folder that holds them.

        All come from one commit, after which the folder is called.
        """
        folder = self.fetch(CONFIGURATION).parent
        self._revision = folder.name
        self._find(PROCESSOR)
        if weights and self._find(_WEIGHTS) is None:
            index = self._find(_INDEX)
            if index is None:
                raise WeightsError(self._without_safetensors())
            for shard in _shards(index):
                self.fetch(shard)
        # For its licence: not worth a question to the Hub when all else is here.
        if self._has_downloaded:
            self._find(CARD)
        return folder

    def fetch(self, *names):
        """Return the path of the first of some files that the repository has, which is downloaded if need be."""
        path = self.find_here(*names)
        path = path or next((path for path in map(self._find, names) if path is not None), None)
        if path is None:
            raise WeightsNotFoundError(self._says(f"has no file {' or '.join(map(repr, names))}"))
        return path

    def find_here(self, *names):
        """Return the path of the first of some files that is on this machine, or None."""
        return next((Path(path) for path in map(self._cached, names) if isinstance(path, str)), None)

    def _cached(self, name):
        """Return the path of a file; None where it is not here, and another object where the Hub has none."""
        try:
            return self._library.try_to_load_from_cache(self.name, name, revision=self._revision)
        except self._library.errors.HFValidationError as error:
            raise ValueError(
                f"backbone must be a name, or 'owner/name' of the Hugging Face Hub. Got {self.name!r} instead."
            ) from error

    def _find(self, name):
        """Return the path of a file, which is downloaded if need be; None where the repository has none."""
        path = self._cached(name)
        if path is None:
            path = self._download(name)
        return Path(path) if isinstance(path, str) else None

    def _download(self, name):
        errors = self._library.errors
        print(f"Downloading {name} of {self.name} from the Hugging Face Hub to {self._place()}", file=sys.stderr)
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

    def _place(self):
        return Path(self._library.constants.HF_HUB_CACHE) / f"models--{self.name.replace('/', '--')}"

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
        variable = next((key for key in ("HF_HUB_CACHE", "HF_HOME") if key in os.environ), None)
        setting = "HF_HOME is not set" if variable is None else f"{variable} is {os.environ[variable]!r}"
        revision = "" if self._revision is None else f" --revision {self._revision}"
        reason = str(reason).strip().split("\n")[0] or type(reason).__name__
        return (
            f"{name!r} of {self.name} is not whole on this machine and cannot be downloaded ({reason}). Looked in "
            f"{str(self._place())!r} ({setting}). Where there is a network, run: hf download {self.name}"
            f"{revision} and copy that folder, or {self._otherwise}. What has arrived of a file that was broken off is "
            f"kept, and the next try goes on there. {NEED_NO_NETWORK}"
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
