"""A table of paths and labels."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas
import polars
import pytest
from PIL import Image

from sktl.images import as_images, load_image_table

ROWS = [("b/2.png", "dog", "x"), ("a/1.png", "cat", "y"), ("3.png", "dog", "y")]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    for i, (name, *_) in enumerate(ROWS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 5), (i, i, i)).save(folder / name)
    return folder


@pytest.fixture
def numbered(tmp_path):
    """Make a table of so many images."""

    def make(targets, name="photos.csv"):
        for number in range(len(targets)):
            (tmp_path / f"{number}.png").touch()
        lines = ["path,label", *(f"{number}.png,{target}" for number, target in enumerate(targets))]
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    return make


def text(separator=",", end="\n", rows=ROWS, header=("path", "label", "patient")):
    return "".join(separator.join(row) + end for row in (header, *rows))


def frame_of(rows=ROWS):
    return pandas.DataFrame(rows, columns=["path", "label", "patient"])


def check(data, root):
    assert data.images.tolist() == [os.path.join(root, name) for name, *_ in ROWS]
    assert (data.target.tolist(), data.target_names, data.task) == ([1, 0, 1], ["cat", "dog"], "classification")
    assert data.groups.tolist() == ["x", "y", "y"]
    assert as_images(data.images)[2].tolist() == [[[2, 2, 2]] * 5] * 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", text()),
        ("a.csv", "\ufeff" + text(";", "\r\n")),
        ("a.csv", text(", ")),
        ("a.csv", text("\t")),
        ("a.tsv", text("\t")),
        ("a.TAB", text("\t")),
        ("a.csv", text('","', '"\n').replace("\n", '\n"').rstrip('"').join(['"', ""])),
        ("a.csv", text() + "\n\n"),
    ],
)
def test_files_of_text_are_read_as_people_write_them(root, name, content):
    (root / name).write_text(content, encoding="utf-8", newline="")
    for table in (root / name, str(root / name)):
        check(load_image_table(table, image="path", target="label", group="patient"), root)


def test_text_that_excel_writes_in_two_bytes_is_read(root):
    (root / "a.csv").write_text(text("\t"), encoding="utf-16")
    check(load_image_table(root / "a.csv", image="path", target="label", group="patient"), root)


@pytest.mark.parametrize("dtype", [None, "string", "category", object])
def test_frames_and_parquet_files_give_the_same(root, dtype):
    frame = frame_of() if dtype is None else frame_of().astype({"label": dtype})
    frame.to_parquet(root / "a.parquet")
    check(load_image_table(root / "a.parquet", image="path", target="label", group="patient"), root)
    for one in (frame, polars.DataFrame(ROWS, schema=list(frame.columns), orient="row")):
        check(load_image_table(one, image="path", target="label", group="patient", root=root), root)


def test_text_is_read_without_pandas(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (root / "a.csv").write_text(text())
    check(load_image_table(root / "a.csv", image="path", target="label", group="patient"), root)
    (root / "a.csv").rename(root / "a.parquet")
    with pytest.raises(ImportError, match=r"Reading \.parquet needs pandas"):
        load_image_table(root / "a.parquet", image="path")


def test_relative_paths_start_at_the_table_or_where_it_is_said(root, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    table = tmp_path / "elsewhere" / "a.csv"
    table.write_text(text())
    check(load_image_table(table, image="path", target="label", group="patient", root=root), root)
    with pytest.raises(
        FileNotFoundError, match=r"Got 3 of 3 that do not instead: '.*elsewhere.*Relative paths start at"
    ):
        load_image_table(table, image="path")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    check(load_image_table("~/elsewhere/a.csv", image="path", target="label", group="patient", root="~/photos"), root)
    monkeypatch.chdir(root)
    Path("b.csv").write_text(text())
    check(load_image_table("b.csv", image="path", target="label", group="patient"), "")
    check(load_image_table(frame_of(), image="path", target="label", group="patient"), "")
    absolute = frame_of([(str(root / name), *rest) for name, *rest in ROWS])
    check(load_image_table(absolute, image="path", target="label", group="patient", root="none"), root)
    at_home = frame_of([(f"~/photos/{name}", *rest) for name, *rest in ROWS])
    check(load_image_table(at_home, image="path", target="label", group="patient"), f"{root}{os.sep}")


def test_without_a_target_there_are_images_alone(root):
    data = load_image_table(frame_of(), image="path", root=root)
    assert (data.target, data.target_names, data.groups, data.task) == (None, None, None, None)
    assert (len(data.images), data.DESCR) == (3, "3 images.")


@pytest.mark.parametrize(
    ("targets", "codes", "names"),
    [
        ([10, 9, 10], [1, 0, 1], ["9", "10"]),
        (["10", "9", "010"], [2, 0, 1], ["9", "010", "10"]),
        ([1.0, 2.0, 1.0], [0, 1, 0], ["1", "2"]),
        ([True, False, True], [1, 0, 1], ["False", "True"]),
        (["NA", "nan", "None"], [0, 2, 1], ["NA", "None", "nan"]),
        ([" cat", "cat ", "dog"], [0, 0, 1], ["cat", "dog"]),
        (["1", "b", "a"], [0, 2, 1], ["1", "a", "b"]),
    ],
)
def test_classes_are_named_as_they_are_written_and_sorted(numbered, targets, codes, names):
    data = load_image_table(numbered(targets), image="path", target="label")
    if not isinstance(targets[0], float):  # a file says 1.0
        assert (data.target.tolist(), data.target_names, data.task) == (codes, names, "classification")
    frame = pandas.DataFrame({"path": data.images, "label": targets})
    data = load_image_table(frame, image="path", target="label")
    assert (data.target.tolist(), data.target_names, data.task) == (codes, names, "classification")


def test_numbers_are_targets_where_they_have_fractions_or_it_is_said(numbered):
    data = load_image_table(numbered([1.5, 2, 3]), image="path", target="label")
    assert (data.target.tolist(), data.target_names, data.task) == ([1.5, 2.0, 3.0], None, "regression")
    assert data.target.dtype == np.float64
    data = load_image_table(numbered([7, 2, 3]), image="path", target="label", task="regression")
    assert (data.target.tolist(), data.task) == ([7.0, 2.0, 3.0], "regression")
    data = load_image_table(numbered([1.5, 2, 1.5]), image="path", target="label", task="classification")
    assert (data.target.tolist(), data.target_names) == ([0, 1, 0], ["1.5", "2"])
    message = r"'label' must hold numbers for regression. Got 'a', '1,5', 'nan' and 1 more instead"
    with pytest.raises(ValueError, match=message):
        load_image_table(numbered(["a", '"1,5"', "nan", "inf", 3]), image="path", target="label", task="regression")


@pytest.mark.parametrize("task", ["auto", "classification"])
def test_numbers_that_hardly_ever_come_twice_are_no_classes(numbered, task):
    ages = [20 + number % 17 for number in range(30)]
    message = r'\'label\' must hold classes.*Got 17 different numbers for 30 images.*pass task="regression"'
    with pytest.raises(ValueError, match=message):
        load_image_table(numbered(ages), image="path", target="label", task=task)
    few = load_image_table(
        numbered([20 + number % 15 for number in range(30)]), image="path", target="label", task=task
    )
    assert len(few.target_names) == 15


def test_several_labels_in_one_cell_are_a_matrix(numbered):
    table = numbered(["red|round", "", "round | red|", "blue"])
    data = load_image_table(table, image="path", target="label", separator="|")
    assert (data.target_names, data.task) == (["blue", "red", "round"], "multilabel")
    assert data.target.tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 1], [1, 0, 0]]
    frame = pandas.DataFrame({"path": data.images, "label": ["1;2", None, "2", "3"]})
    data = load_image_table(frame, image="path", target="label", separator=";")
    assert data.target.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("empty", [None, float("nan"), pandas.NA, "", "  "])
@pytest.mark.parametrize("name", ["path", "label", "patient"])
def test_what_is_missing_is_counted_and_named(root, name, empty):
    frame = frame_of().astype(object)
    frame.loc[1, name] = empty
    shown = "None" if name == "path" else "a/1.png"
    message = rf"the column '{name}' must have a value in every row\. Got none in 1 of 3 instead: 'row 2 \({shown}\)'\."
    with pytest.raises(ValueError, match=message):
        load_image_table(frame, image="path", target="label", group="patient", root=root)


def test_files_that_do_not_exist_are_counted_and_the_first_are_named(numbered, tmp_path):
    table = numbered("abcdefgh")
    for number in (1, 3, 4, 6, 7):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(FileNotFoundError) as error:
        load_image_table(table, image="path", target="label")
    shown = ", ".join(repr(str(tmp_path / f"{number}.png")) for number in (1, 3, 4))
    assert f"Got 5 of 8 that do not instead: {shown} and 2 more." in str(error.value)


def test_rows_that_come_twice_are_named_and_taken_once(root):
    repeated = [*ROWS, ROWS[1], ("./b/2.png", "dog", "x")]
    with pytest.warns(UserWarning, match=r"2 rows of the table come twice and are taken once: 'a/1.png \(row 4\)'"):
        data = load_image_table(
            frame_of(repeated[:4] + [ROWS[0]]), image="path", target="label", group="patient", root=root
        )
    check(data, root)
    spelt = [*ROWS, ("./" + ROWS[1][0], *ROWS[1][1:])]
    with pytest.warns(UserWarning, match="1 rows"):
        check(load_image_table(frame_of(spelt), image="path", target="label", group="patient", root=root), root)
    with pytest.warns(UserWarning, match="1 rows"):
        assert len(load_image_table(frame_of([*ROWS, ("a/1.png", "dog", "z")]), image="path", root=root).images) == 3


@pytest.mark.parametrize("other", [("./b/../b/2.png", "cat", "x"), ("b/2.png", "dog", "z")])
def test_an_image_with_two_labels_or_groups_is_refused(root, other):
    with pytest.raises(
        ValueError, match=r"one thing of an image\. Got 1 images with two instead: .* in the rows 1 and 4"
    ):
        load_image_table(frame_of([*ROWS, other]), image="path", target="label", group="patient", root=root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must have the column 'path'. Got none instead."),
        ("file,label\n", "must have the column 'path'. Got 'file' and 'label' instead."),
        ("paths,label\n", "Did you mean 'paths'?"),
        ("path,label\n", "table must have a row for each image. Got none instead."),
        ("path,label\na.png\n", "as many cells in each line as in the first, 2. Got 1 in line 2 of "),
        ("path,label\na.png,x\nb.png,y,z\n", "Got 3 in line 3 of "),
        ("path,label\na.png," + "x" * 131_073, "must be text in UTF-8. "),
    ],
)
def test_tables_without_what_is_needed_are_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ValueError) as error:
        load_image_table(tmp_path / "a.csv", image="path", target="label")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ("none.csv", FileNotFoundError, "Found no file at 'none.csv' instead"),
        (".", FileNotFoundError, "Found no file"),
        (__file__, ValueError, r"table must end in \.csv, .*\.parquet"),
        ([("a.png", "x")], TypeError, "must be a file, or a data frame. Got list instead"),
        (pandas.DataFrame({"path": [1, 2]}), ValueError, "'path' must hold paths. Got int instead"),
        (pandas.DataFrame({"file": [1, 2]}), ValueError, "must have the column 'path'. Got 'file' instead"),
    ],
)
def test_what_is_no_table_is_refused(table, error, message):
    with pytest.raises(error, match=message):
        load_image_table(table, image="path")


def test_a_task_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"task must be 'auto', 'classification' or 'regression'. Got 'rank' instead"):
        load_image_table(frame_of(), image="path", task="rank")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
def test_names_that_are_no_text_are_found_as_bytes_and_as_they_are_spelt(tmp_path):
    odd = Path(tmp_path, "caf\udce9.png")
    odd.touch()
    for content in (b"path,label\ncaf\xe9.png,\xe9\n", rb"path,label" + b"\n" + rb"caf\udce9.png,\udce9"):
        (tmp_path / "a.csv").write_bytes(content)
        data = load_image_table(tmp_path / "a.csv", image="path", target="label")
        assert (data.images.tolist(), data.target_names) == ([str(odd)], ["\udce9"])
