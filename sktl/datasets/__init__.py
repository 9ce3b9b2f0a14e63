"""Small data without a download: pictures drawn by formula."""

from sktl.datasets._fractals import make_fractals

__all__ = ["make_fractals"]
