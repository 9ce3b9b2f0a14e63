from html import escape

import numpy as np
import pytest

from sktl.reports import near_copies, said_of_copies, where

FILES = [f"photos/{i:02}.png" for i in range(30)]


def copies(*groups, files=None):
    return [[{"image": image, "file": files and files[image]} for image in group] for group in groups]


@pytest.fixture
def splits(make_comparison):
    """Which of the splits tests an image, from 1."""
    return {image: split for split, (_, test) in enumerate(make_comparison().splits, start=1) for image in test}


def test_groups_tell_labels_files_and_splits_and_the_worst_come_first(make_comparison, splits):
    same = next(i for i in range(3, 30, 3) if splits[i] == splits[0])  # another image of the class and split of 0
    other = next(i for i in range(3, 30, 3) if splits[i] != splits[0])
    groups = near_copies(make_comparison(near_copies=copies([0, same], [0, other], [0, 1], files=FILES)), "abc")
    assert [group.images for group in groups] == [(0, 1), (0, other), (0, same)]
    assert [group.labels_differ for group in groups] == [True, False, False]
    assert groups[0].labels == ("a", "b")
    assert groups[0].files == ("photos/00.png", "photos/01.png")
    assert groups[1].across == tuple(sorted({splits[0], splits[other]}))
    assert groups[2].across == ()
    assert where(groups[1], 1) == f"a, tested in split {splits[other]}"


def test_what_is_said_counts_pictures_copies_splits_and_labels(make_comparison, splits):
    same = [i for i in range(0, 30, 3) if splits[i] == splits[0]][:2]
    other = next(i for i in range(3, 30, 3) if splits[i] != splits[0])
    one = near_copies(make_comparison(near_copies=copies(same)))
    assert said_of_copies(one) == "1 picture is there more than once, as 2 near copies."
    two = near_copies(make_comparison(near_copies=copies([0, other, 1], [2, 5], files=FILES)))
    said = said_of_copies(two)
    assert said.startswith("2 pictures are there more than once, as 5 near copies. ")
    assert said.endswith(" 1 of them has different labels, which cannot all be right.")
    assert (" on both sides of a split, which flatters every candidate." in said) is any(one.across for one in two)


def test_a_page_shows_the_pictures_of_near_copies_with_their_files(make_comparison, pictures, tmp_path):
    comparison = make_comparison(("dummy", "frozen"), near_copies=copies([0, 1], [2, 5, 8, 11, 14, 17], files=FILES))
    text = comparison.report(tmp_path / "page.html", X=pictures).read_text()
    section = text.partition("<h2>Near copies of one picture</h2>")[2].partition("</section>")[0]
    assert section.count("<img") == 2 + 4
    assert '<p class="small">And 2 more.</p>' in section
    assert section.index("1. Different labels") < section.index("photos/00.png") < section.index("photos/02.png")
    without = comparison.report(tmp_path / "page.html").read_text()
    section = without.partition("<h2>Near copies of one picture</h2>")[2].partition("</section>")[0]
    assert "<img" not in section
    assert "photos/17.png" not in section
    assert "photos/11.png: " in section


def test_many_groups_are_counted_and_no_copies_are_no_section(make_comparison, tmp_path):
    pairs = [[i, i + 1] for i in range(0, 26, 2)]
    text = make_comparison(("dummy", "frozen"), near_copies=copies(*pairs)).report(tmp_path / "a.html").read_text()
    assert "And 3 more pictures with copies." in text
    assert "X[0]: 0, tested in split" in text
    for settings in ({}, {"near_copies": []}):
        text = make_comparison(("dummy", "frozen"), **settings).report(tmp_path / "a.html").read_text()
        assert "Near copies" not in text


def test_names_of_files_are_no_markup(make_comparison, tmp_path):
    files = ["<b>&'a\udcff'.png"] * 30
    text = make_comparison(("dummy", "frozen"), near_copies=copies([0, 1], files=files)).report(tmp_path / "a.html")
    assert escape("<b>&'a") in text.read_text()
    assert "<b>" not in text.read_text()


def test_copies_with_several_labels_are_noted_and_regression_has_none(make_comparison):
    settings = {"near_copies": copies([0, 3, 1], [3, 6], [4, 8], files=FILES)}
    (note,) = [note for note in make_comparison(**settings).notes() if "copies" in note]
    assert note == (
        "2 pictures have near copies with different labels, which cannot all be right: 'photos/03.png' and "
        "'photos/01.png' for instance."
    )
    numbers = make_comparison(y=np.linspace(0, 1, 30), task="regression", **settings)
    assert not any("copies" in note for note in numbers.notes())
    assert not any(group.labels_differ for group in near_copies(numbers))
    assert where(near_copies(numbers)[0], 0).startswith("tested in split ")
