"""One table of strings, written as text, as HTML and for a terminal."""

import io

import pytest
from rich.console import Console

from sktl.reports._table import Column, Table


@pytest.fixture
def table():
    return Table(
        [
            Column("name", ["a", "<b>"], "words"),
            Column("score", ["0.5", ""], leaves=2),
            Column("seconds", ["12", "7"], leaves=1),
            Column("remark", ["good & [bold]", "bad"], "long"),
        ]
    )


def test_numbers_end_and_words_begin_at_one_place(table):
    assert table.as_text() == [
        "name  score  seconds  remark",
        "-----------------------------------",
        "a       0.5       12  good & [bold]",
        "<b>                7  bad",
    ]


def test_html_escapes_every_cell_and_names_rows_and_columns(table):
    html = table.as_html()
    assert html.count("<tr>") == 3
    assert '<th scope="row"><span>&lt;b&gt;</span></th>' in html
    assert '<th scope="col" class="number">score</th>' in html
    assert '<td class="long">good &amp; [bold]</td>' in html


def test_a_terminal_shows_cells_as_they_are(table):
    file = io.StringIO()
    Console(file=file, width=80, force_terminal=True, color_system=None).print(table.as_rich(80))
    lines = [line.split() for line in file.getvalue().splitlines()]
    assert lines == [
        ["name", "score", "seconds", "remark"],
        ["a", "0.5", "12", "good", "&", "[bold]"],
        ["<b>", "7", "bad"],
    ]


@pytest.mark.parametrize(
    ("width", "header"),
    [
        (37, ["name", "score", "seconds", "remark"]),
        (36, ["name", "score", "remark"]),
        (28, ["name", "score", "remark"]),
        (27, ["name", "remark"]),
        (1, ["name", "remark"]),
    ],
)
def test_on_a_narrow_terminal_what_can_be_missed_leaves_in_its_order(table, width, header):
    assert table.fitting(width).header == header


def test_of_two_columns_of_one_title_only_the_one_that_may_leaves():
    table = Table([Column("name", ["a"], "words"), Column("SD", ["1"]), Column("SD", ["2"], leaves=1)])
    assert table.fitting(1).lines == [["a", "1"]]
