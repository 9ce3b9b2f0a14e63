"""Small data without a download: pictures drawn by formula, and digits that lie anywhere."""

from sktl.datasets._fractals import make_fractals
from sktl.datasets._moved_digits import load_moved_digits

__all__ = ["load_moved_digits", "make_fractals"]
