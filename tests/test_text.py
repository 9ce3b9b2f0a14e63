"""Names that are no text are written such that any reader takes them, and come back."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktl._text import enumerated, escaped, shortened, unescaped

# Any text, lone surrogates included, and what may be taken for an escape.
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("\\ud5c089ae\udce9\udc5c\ud800")))


@given(TEXTS)
def test_whatever_is_escaped_comes_back_and_is_text(text):
    written = escaped(text)
    written.encode("utf-8")
    assert unescaped(written) == text


@given(TEXTS, TEXTS)
def test_no_two_names_are_written_alike(one, other):
    assert (escaped(one) == escaped(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("café 日本.png", "café 日本.png"),
        (r"C:\users\ud\x.png", r"C:\users\ud\x.png"),
        ("caf\udce9.png", r"caf\udce9.png"),
        (r"caf\udce9.png", r"caf\u005cudce9.png"),
        ("\\\udce9", r"\\udce9"),
        (r"\u005c", r"\u005cu005c"),
    ],
)
def test_names_that_are_text_stay_and_bytes_are_written_as_python_writes_them(text, written):
    assert escaped(text) == written
    assert unescaped(written) == text


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
@given(st.binary())
def test_every_name_of_a_file_comes_back_as_the_same_bytes(name):
    assert os.fsencode(unescaped(escaped(os.fsdecode(name)).encode().decode())) == name


def test_a_name_that_is_no_text_can_be_told_from_others_in_a_plot():
    assert shortened("caf\udce9", 32) == r"caf\udce9"


@pytest.mark.parametrize(
    ("names", "shown"),
    [(["a"], "'a'"), (["a", "b"], "'a' and 'b'"), ("abc", "'a', 'b' and 'c'"), (range(9), "0, 1, 2 and 6 more")],
)
def test_the_first_few_names_are_given_and_the_number_of_the_others(names, shown):
    assert enumerated(names) == shown
