"""The command ``sktl backbones``: the names that --backbone takes."""

import json

from sktl.cli._options import JsonOption
from sktl.cli._reporting import errors_as_messages

__all__ = ["backbones"]


def backbones(as_json: JsonOption = False):
    """List the pretrained networks by name, one per line."""
    with errors_as_messages():
        from sktl.backbones import list_backbones

        names = list_backbones()
        print(json.dumps(names, indent=2) if as_json else "\n".join(names))
