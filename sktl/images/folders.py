"""What lies in a folder, at any depth, and which folders are not the user's own."""

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Found", "entries", "is_left_out", "search"]

# Made by systems, network storage and archives beside the user's own folders.
_SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found"}
)


@dataclass
class Found:
    """Images, other files and links, and folders that are hidden or made by the system."""

    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def is_left_out(name):
    """Whether a folder of this name is hidden or made by the system."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def search(folder, root, extensions):
    """Find images by their endings; hidden files are passed by, and links that lead to folders or out of the root."""
    found = Found()
    folders, files, found.left_out = entries(folder)
    for file in files:
        (found.images if file.suffix.lower() in extensions and _is_inside(file, root) else found.others).append(file)
    for inner in folders:
        below = search(inner, root, extensions)
        found.images += below.images
        found.others += below.others
        found.left_out += below.left_out
    return found


def entries(folder):
    """Return folders, files and links, and folders to leave out, each sorted by name."""
    folders, files, left_out = [], [], []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.is_symlink():
            (left_out if is_left_out(entry.name) else folders).append(entry)
        elif not entry.name.startswith("."):
            files.append(entry)
    return folders, files, left_out


def _is_inside(file, root):
    """Whether the entry is a file, and stays in the root when links are resolved."""
    return file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(root))
