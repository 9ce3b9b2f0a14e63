"""Names from files do no harm to a terminal, and every end has its exit code."""

import io
import warnings

import pytest
import typer
from rich.console import Console

from sktl._text import printable
from sktl.cli._reporting import errors_as_messages, print_comparison, size


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


@pytest.fixture
def shown(monkeypatch):
    """What a terminal of some width shows of a comparison, line by line, and the same without a terminal."""

    def shown(comparison, width, is_terminal=True):
        file = io.StringIO()
        monkeypatch.setattr(
            "sktl.cli._reporting.Console",
            lambda **options: Console(
                file=file, width=width, force_terminal=is_terminal, color_system=None, legacy_windows=False, **options
            ),
        )
        print_comparison(comparison)
        return [line.rstrip() for line in file.getvalue().splitlines()]

    return shown


def test_a_terminal_shows_verdict_tables_notes_and_what_the_columns_mean(make_comparison, shown):
    comparison = make_comparison()
    wide = shown(comparison, 200)
    assert wide[0] == str(comparison).splitlines()[0]
    assert [line.split() for line in wide[2:7]] == [str(comparison).splitlines()[i].split() for i in (2, 4, 5, 6, 7)]
    assert "Note: Only 3 splits: the intervals are wide and rough; cv=5 is better." in wide
    assert wide[-1] == str(comparison).splitlines()[-1]


def test_a_narrow_terminal_explains_the_columns_that_it_shows(make_comparison, shown):
    narrow = shown(make_comparison(), 70)
    assert max(map(len, narrow)) <= 70
    text = " ".join(narrow)
    assert "p Holm: the same" in text
    assert "image by image" not in text


def test_names_are_no_markup_in_a_terminal(make_comparison, shown):
    comparison = make_comparison(("frozen", "[bold]x[/bold]", "from_scratch"))
    assert any(line.startswith(" [bold]x[/bold] ") for line in shown(comparison, 200))


def test_a_pipe_gets_plain_text(make_comparison, shown, capsys):
    comparison = make_comparison()
    assert shown(comparison, 60, is_terminal=False) == []
    assert capsys.readouterr().out == f"{comparison}\n"
