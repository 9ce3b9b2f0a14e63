"""A folder per class."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from sktl.images import as_images, load_image_folder


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pets"
    for i, name in enumerate(["dog/2.png", "dog/10.JPG", "cat/deep/er/1.png", "cat/0.webp"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 5), (i, i, i)).save(root / name)
    return root


def test_sub_folders_are_classes_and_everything_is_sorted(folder):
    data = load_image_folder(folder)
    names = [path.removeprefix(str(folder)).replace("\\", "/") for path in data.images]
    assert names == ["/cat/0.webp", "/cat/deep/er/1.png", "/dog/10.JPG", "/dog/2.png"]
    assert data.target.tolist() == [0, 0, 1, 1]
    assert data.target_names == ["cat", "dog"]
    assert data.DESCR.startswith("4 images of 2 classes")
    assert len(load_image_folder(str(folder)).images) == 4


def test_the_images_can_be_split_and_read(folder):
    data = load_image_folder(folder)
    train, test, _, y = train_test_split(data.images, data.target, stratify=data.target, test_size=2, random_state=0)
    assert isinstance(train, np.ndarray)
    assert sorted(y) == [0, 1]
    assert as_images(test)[0].shape == (5, 5, 3)


def test_hidden_and_foreign_files_are_ignored_and_counted(folder):
    for name in (".hidden/1.png", "dog/.2.png", "dog/notes.txt", "cat/deep/Thumbs.db", "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"Left out of '.*pets': '\.hidden', hidden or made by the system\. Rename"):
        data = load_image_folder(folder)
    assert len(data.images) == 4
    assert data.target_names == ["cat", "dog"]
    assert "3 other files and 0 links ignored." in data.DESCR  # hidden ones are not counted
    assert (data.n_ignored_files, data.n_ignored_links) == (3, 0)
    assert [Path(path).name for path in data.ignored] == ["README.md", "Thumbs.db", "notes.txt"]
    assert data.left_out == [str(folder / ".hidden")]


@pytest.mark.parametrize(
    "name",
    ["__MACOSX", "@eaDir", ".ipynb_checkpoints", ".git", "$RECYCLE.BIN", "System Volume Information", "#recycle"],
)
@pytest.mark.parametrize("parent", ["", "cat", "cat/deep"])
def test_folders_that_the_system_makes_are_no_classes_and_hold_no_images(folder, parent, name):
    made = folder / parent / name / "dog"
    made.mkdir(parents=True)
    Image.new("RGB", (5, 5)).save(made / "1.png")
    with pytest.warns(UserWarning, match="hidden or made by the system") as caught:
        data = load_image_folder(folder)
    assert repr(str(Path(parent, name))) in str(caught[0].message)
    assert (len(data.images), data.target_names) == (4, ["cat", "dog"])
    assert data.left_out == [str(folder / parent / name)]


def test_many_folders_are_left_out_with_a_few_names_and_a_number(folder):
    for number in range(9):
        (folder / f"empty{number}").mkdir()
    with pytest.warns(UserWarning, match="'empty0', 'empty1', 'empty2' and 6 more without an image. Put images"):
        assert len(load_image_folder(folder).left_out) == 9


def test_a_folder_below_the_home_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert load_image_folder("~/pets").images.tolist() == load_image_folder(folder).images.tolist()


def test_extensions_choose_the_files(folder):
    for extensions in ([".png"], ["PNG"], (name for name in ["png"])):
        data = load_image_folder(folder, extensions=extensions)
        assert [path[-5:] for path in data.images] == ["1.png", "2.png"] or len(data.images) == 2
    for wrong in (".png", [1]):
        with pytest.raises(ValueError, match="extensions must be several strings"):
            load_image_folder(folder, extensions=wrong)


def test_links_do_not_lead_out_of_the_folder_or_into_circles(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("RGB", (5, 5)).save(outside / "secret.png")
    try:
        (folder / "dog" / "secret.png").symlink_to(outside / "secret.png")
    except OSError:
        pytest.skip("this system does not let us make links")
    (folder / "dog" / "away").symlink_to(outside, target_is_directory=True)
    (folder / "dog" / "circle").symlink_to(folder, target_is_directory=True)
    (folder / "zoo").symlink_to(outside, target_is_directory=True)
    (folder / "dog" / "broken.png").symlink_to(folder / "nothing.png")
    (folder / "dog" / "same.png").symlink_to(folder / "dog" / "2.png")
    data = load_image_folder(folder)
    assert [path for path in data.images if "secret" in path or "broken" in path] == []
    assert data.target_names == ["cat", "dog"]
    assert len(data.images) == 5  # the link that stays inside is taken
    assert (data.n_ignored_files, data.n_ignored_links) == (0, 5)
    assert "0 other files and 5 links ignored (3 links to folders, which are not followed: put the" in data.DESCR
    assert "; 1 link to a file elsewhere, which is not followed: put the files there)" in data.DESCR


def test_a_folder_whose_classes_are_links_is_told_so(folder, tmp_path):
    linked = tmp_path / "linked"
    (linked / "eel").mkdir(parents=True)
    try:
        for name in ("cat", "dog"):
            (linked / name).symlink_to(folder / name, target_is_directory=True)
        (linked / "eel" / "1").symlink_to(folder / "cat", target_is_directory=True)
    except OSError:
        pytest.skip("this system does not let us make links")
    with pytest.raises(
        ValueError, match=r"Got none in '.*eel' instead, with 1 link to a folder, which is not followed"
    ):
        load_image_folder(linked)
    (linked / "eel" / "2.png").symlink_to(folder / "dog" / "2.png")
    (linked / "eel" / "3.png").symlink_to(folder / "dog" / "2.png")
    with pytest.raises(ValueError, match=r"; 2 links to files elsewhere, which are not followed: put the files"):
        load_image_folder(linked)
    for link in (linked / "eel").iterdir():
        link.unlink()
    (linked / "eel").rmdir()
    (linked / "notes.txt").touch()
    message = r"1 files and no sub-folder instead, but 2 links to folders, which are not followed: put the folders them"
    with pytest.raises(ValueError, match=message):
        load_image_folder(linked)


def test_an_empty_class_is_left_out_and_named(folder):
    before = load_image_folder(folder)
    (folder / "bat" / "deep").mkdir(parents=True)
    (folder / "eel").mkdir()
    (folder / "eel" / "1.dcm").touch()
    message = r"'bat' and 'eel' without an image, but 1 other file\(s\)\. Put images there"
    with pytest.warns(UserWarning, match=message):
        data = load_image_folder(folder)
    assert data.target_names == ["cat", "dog"]
    assert data.images.tolist() == before.images.tolist()
    assert data.target.tolist() == before.target.tolist() == [0, 0, 1, 1]
    assert data.left_out == [str(folder / "bat"), str(folder / "eel")]
    assert data.ignored == [str(folder / "eel" / "1.dcm")]


def test_classes_without_any_image_are_an_error_that_says_what_is_taken(folder):
    with pytest.raises(
        ValueError, match=r"at least one image\. Got none in '.*cat' and '.*dog' instead.*end in \.gif\."
    ):
        load_image_folder(folder, extensions=["gif"])


def filled(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 5)).save(root / name)
    return root


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (("train", "test"), "'test' and 'train'"),
        (("training", "val"), "'training' and 'val'"),
        (("Train", "Valid", "Test"), "'Test', 'Train' and 'Valid'"),
        (("seg_train", "seg_test"), "'seg_test' and 'seg_train'"),
        (("validation", "test-set"), "'test-set' and 'validation'"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(tmp_path, parts, shown):
    root = filled(tmp_path / "pets", *(f"{part}/{name}/deep/1.png" for part in parts for name in ("cat", "dog")))
    with pytest.raises(ValueError, match=f"where {shown} are parts of one data set, with the classes 'cat' and 'dog'"):
        load_image_folder(root)
    first = next((part for part in parts if "train" in part.lower()), sorted(parts)[0])
    assert load_image_folder(root / first).target_names == ["cat", "dog"]


def test_a_part_without_classes_is_none_either(tmp_path):
    root = filled(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png")
    with pytest.raises(ValueError, match=r"'test' and 'train' are parts.*--test-folder"):
        load_image_folder(root)


@pytest.mark.parametrize(
    "names",
    [
        ("train/1.png", "test/1.png"),  # to tell one from the other may be the question
        ("train/red/1.png", "ship/red/1.png"),
        ("train/red/1.png", "test/blue/1.png", "other/1.png"),
        ("test tube/day 1/1.png", "train station/night/1.png"),
        ("cat/indoor/1.png", "dog/indoor/1.png"),
        ("attest/a/1.png", "restraint/a/1.png"),
    ],
)
def test_classes_may_be_called_like_parts_and_have_folders_of_the_same_names(tmp_path, names):
    data = load_image_folder(filled(tmp_path, *names))
    assert data.target_names == sorted({name.partition("/")[0] for name in names})


def test_a_folder_without_classes_is_told_how_to_look(folder):
    with pytest.raises(ValueError, match=r"one sub-folder per class, like dog/cat/1\.jpg"):
        load_image_folder(folder / "dog")


def test_what_is_no_folder_is_an_error(folder):
    with pytest.raises(
        NotADirectoryError, match=r"with one folder per class\. Got '.*2\.png' instead, which is a file\."
    ):
        load_image_folder(folder / "dog" / "2.png")
    for path in (folder.parent / "nowhere", folder / "none" / "below"):
        with pytest.raises(
            FileNotFoundError, match=r"with one folder per class.*which does not exist; a relative path"
        ):
            load_image_folder(path)
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'pets'\?"):
        load_image_folder(folder.parent / "pet")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
def test_names_that_are_no_text_are_classes_and_files_like_others(folder):
    odd = os.fsencode(folder) + b"/caf\xe9"
    os.mkdir(odd)
    Image.new("RGB", (5, 5), "red").save(folder / "1.png")
    os.rename(folder / "1.png", odd + b"/\xff.png")
    data = load_image_folder(folder)
    assert data.target_names == ["caf\udce9", "cat", "dog"]
    assert os.fsencode(data.images[0]) == odd + b"/\xff.png"
    assert as_images(data.images)[0].tolist() == [[[255, 0, 0]] * 5] * 5
