"""One file for a fitted model: for Python and for the command."""

from sktl.models._exporting import export_onnx
from sktl.models._loading import load_model
from sktl.models._record import MAX_IMAGE_SIZE
from sktl.models._saving import save_model

__all__ = ["MAX_IMAGE_SIZE", "export_onnx", "load_model", "save_model"]
