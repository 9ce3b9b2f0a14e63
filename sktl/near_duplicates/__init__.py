"""Near duplicates among the images, and their leakage across splits."""

from sktl.near_duplicates._groups import near_duplicate_groups
from sktl.near_duplicates._inspection import ImageInspection, inspect_images
from sktl.near_duplicates._leakage import Leaks, find_leaks
from sktl.near_duplicates.suggestion import suggested_groups

__all__ = ["ImageInspection", "Leaks", "find_leaks", "inspect_images", "near_duplicate_groups", "suggested_groups"]
