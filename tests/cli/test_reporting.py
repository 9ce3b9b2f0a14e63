"""Names from files do no harm to a terminal, and every end has its exit code."""

import warnings

import pytest
import typer

from sktl._text import printable
from sktl.cli._reporting import errors_as_messages, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photos/Ä 1.jpg", "photos/Ä 1.jpg"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\udcff", "\\udcff"),
        ("\u202egnp", "\\u202egnp"),
    ],
)
def test_names_are_printed_on_one_line_of_plain_characters(text, expected):
    assert printable(text) == expected
    printable(text).encode("utf-8")


@pytest.mark.parametrize(
    ("n_bytes", "expected"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 KB"), (13_400_000, "13.4 MB")]
)
def test_sizes_have_three_digits(n_bytes, expected):
    assert size(n_bytes) == expected


def test_an_exit_inside_keeps_its_code_and_says_nothing(capsys):
    with pytest.raises(typer.Exit) as end, errors_as_messages():
        raise typer.Exit(3)
    assert end.value.exit_code == 3
    assert capsys.readouterr().err == ""


def test_an_interrupt_can_say_what_is_kept(capsys):
    with pytest.raises(typer.Exit) as end, errors_as_messages(interrupted="All is kept."):
        raise KeyboardInterrupt
    assert end.value.exit_code == 130
    assert capsys.readouterr().err == "Interrupted. All is kept.\n"


def test_warnings_are_said_without_their_place_in_the_code(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with errors_as_messages():
            warnings.warn("look out", stacklevel=1)
    assert capsys.readouterr().err == "Warning: look out\n"
