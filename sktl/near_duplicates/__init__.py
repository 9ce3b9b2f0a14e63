"""Near duplicates among the images, and those that leak across the splits."""

from sktl.near_duplicates._near_duplicates import Leaks, find_leaks, near_duplicate_groups

__all__ = ["Leaks", "find_leaks", "near_duplicate_groups"]
