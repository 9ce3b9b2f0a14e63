"""Which images a command works on, and which it says it leaves out."""

import os

import numpy as np
import pytest
from PIL import Image

from sktl.cli._folders import find_images, load_classes, read_groups, say_classes


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a/deep/3.webp", "top.png", "b/notes.txt", ".hidden/4.png", "b/.5.png"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3)).save(path, format="png")
    return tmp_path / "tree"


def test_folders_are_searched_to_any_depth_and_name_the_labels(tree, capsys):
    images, labels = find_images([tree])
    assert [os.path.relpath(image, tree) for image in images] == ["top.png", "a/deep/3.webp", "b/1.JPG", "b/2.png"]
    assert labels == [None, "a", "b", "b"]
    assert capsys.readouterr().err == (
        f"Left out in {tree}: '.hidden', hidden or made by the system.\n"
        f"In {tree}, files without an image's ending. Left out: 1 other file(s) or link(s); --verbose lists them.\n"
    )


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", ".ipynb_checkpoints"])
def test_folders_that_the_system_makes_hold_no_images_of_the_user(tree, capsys, name):
    before, _ = find_images([tree])
    made = tree / "a" / name / "1.png"
    made.parent.mkdir()
    Image.new("RGB", (3, 3)).save(made)
    assert find_images([tree])[0] == before
    assert repr(os.path.join("a", name)) in capsys.readouterr().err


def test_files_that_are_left_out_are_listed_where_that_is_wanted(tree, capsys):
    find_images([tree], listed=True)
    assert f"Left out: {tree / 'b' / 'notes.txt'}\n" in capsys.readouterr().err


def test_files_are_taken_as_they_are_and_in_their_order(tree):
    images, labels = find_images([tree / "b" / "notes.txt", tree / "b" / "1.JPG", tree / "a"])
    assert [os.path.relpath(image, tree) for image in images] == ["b/notes.txt", "b/1.JPG", "a/deep/3.webp"]
    assert labels == [None, None, "deep"]


def test_nothing_is_said_about_folders_without_other_files(tree, capsys):
    find_images([tree / "a"])
    assert capsys.readouterr().err == ""


def test_a_class_folder_with_other_files_says_how_many_are_left_out(tree, capsys):
    with pytest.warns(UserWarning, match="'.hidden', hidden or made by the system"):
        load_classes(tree, None, 0, verb="Counting")
    assert capsys.readouterr().err == (
        "Counting 3 of 3 images in 2 classes. Left out: 2 other file(s) or link(s); --verbose lists them.\n"
        "Images per class: a 1, b 2.\n"
    )


@pytest.mark.filterwarnings("ignore:path must have images")
def test_images_per_class_are_said_of_those_that_are_used(tree, capsys):
    _, target, names = load_classes(tree, 2, 0, verb="Counting")
    assert capsys.readouterr().err.endswith("Images per class: a 1, b 1.\n")
    assert (target.tolist(), names) == ([0, 1], ["a", "b"])


def test_many_classes_are_counted(capsys):
    say_classes(np.arange(30), [f"c{number:02}" for number in range(30)])
    assert capsys.readouterr().err.endswith("c18 1, c19 1, and 10 more.\n")


def test_one_class_says_where_the_classes_may_be(tmp_path):
    (tmp_path / "pets" / "pets" / "cat").mkdir(parents=True)
    Image.new("RGB", (3, 3)).save(tmp_path / "pets" / "pets" / "cat" / "1.png")
    with pytest.raises(
        ValueError, match=r"at least two folders.*If the classes are the folders in it, pass '.*pets.pets'"
    ):
        load_classes(tmp_path / "pets", None, 0, verb="Counting")


def test_groups_are_found_by_relative_and_absolute_paths(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text(f"\ufeffgroup,path,more\nx,a/1.png,0\ny,{tmp_path / 'b' / '2.png'},0\n", encoding="utf-8")
    images = [str(tmp_path / "b" / "2.png"), str(tmp_path / "a" / "1.png")]
    assert read_groups(table, tmp_path, images).tolist() == ["y", "x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,group\n", "must have the columns path and group. Got ['file', 'group'] instead"),
        ("", "must have the columns path and group"),
        ("path,group\na.png,1\n", "Got none for 1 of 2 instead"),
        ("path,group\na.png,1\nb.png,\n", "Got none for 1 of 2 instead"),
        ("path,group\na.png,1\nb.png\n", "Got none for 1 of 2 instead"),
        ("group,path\n1,a.png\n2\n", "must give a path in every line. Got none in line 3 of "),
        ("path,group\na.png," + "x" * 131_073, "must be a CSV file in UTF-8. "),
        ("path,group," + "x" * 131_073, "must be a CSV file in UTF-8. "),
    ],
)
def test_tables_without_what_is_needed_are_refused(tmp_path, text, message):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(ValueError) as refusal:
        read_groups(tmp_path / "groups.csv", tmp_path, [str(tmp_path / "a.png"), str(tmp_path / "b.png")])
    assert message in str(refusal.value)


def test_a_table_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="--groups must be a CSV file"):
        read_groups(tmp_path / "groups.csv", tmp_path, [])


def test_a_table_that_is_no_text_is_one_error(tmp_path):
    (tmp_path / "groups.csv").write_bytes(b"path,group\n\xff.png,1\n")
    with pytest.raises(ValueError, match="--groups must be a CSV file in UTF-8"):
        read_groups(tmp_path / "groups.csv", tmp_path, [])
