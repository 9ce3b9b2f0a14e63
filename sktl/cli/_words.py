"""Advice of the library in the words of the command."""

import re

__all__ = ["in_words_of_command"]

_COPIES = r"with duplicates='group', or with groups=near_duplicate_groups\(.*\), which is in sktl\.near_duplicates"
_WORDS = {
    _COPIES: "with --near-duplicates group",
    r"on_bad_image='skip'": "--on-error skip",
    r"\bresume='fits\.jsonl'": "--resume fits.jsonl",
    r"\bbackbone='(\w+)'": r"--backbone \1",
    r"\bn_jobs=(\d+)": r"--n-jobs \1",
}


def in_words_of_command(text):
    """Write options where a text for Python names parameters."""
    for pattern, words in _WORDS.items():
        text = re.sub(pattern, words, text)
    return text
