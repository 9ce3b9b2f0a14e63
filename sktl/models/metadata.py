"""What the writer of a model file has put beside the model; nothing that predictions depend on."""

from sktl.models._format import read_record

__all__ = ["metadata_of"]


def metadata_of(path):
    """Return the metadata of a model file, which may come from anybody: a dictionary, or whatever else is there."""
    return read_record(path).get("metadata")
