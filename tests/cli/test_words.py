"""The command speaks of options, the library of parameters."""

import pytest

from sktl.cli._words import in_words_of_command


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Keep them together with duplicates='group', or with groups=near_duplicate_groups(X, value_range=(0, 16)), "
            "which is in sktl.near_duplicates.",
            "Keep them together with --near-duplicates group.",
        ),
        ("leave them out with on_bad_image='skip'.", "leave them out with --on-error skip."),
        (
            "Pass resume='fits.jsonl' to keep fits, and n_jobs=1",
            "Pass --resume fits.jsonl to keep fits, and --n-jobs 1",
        ),
        ("Write backbone='efficientnet_lite0'", "Write --backbone efficientnet_lite0"),
        ("Got 'group' instead.", "Got 'group' instead."),
    ],
)
def test_parameters_become_options(text, expected):
    assert in_words_of_command(text) == expected
