"""A folder per class."""

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
    data = load_image_folder(folder)
    assert len(data.images) == 4
    assert data.target_names == ["cat", "dog"]
    assert "3 other files and 0 links ignored." in data.DESCR  # hidden ones are not counted
    assert (data.n_ignored_files, data.n_ignored_links) == (3, 0)


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
    (linked / "eel" / "1").unlink()
    (linked / "eel").rmdir()
    (linked / "notes.txt").touch()
    message = r"1 files and no sub-folder instead, but 2 links to folders, which are not followed: put the folders them"
    with pytest.raises(ValueError, match=message):
        load_image_folder(linked)


def test_an_empty_class_is_named(folder):
    (folder / "eel").mkdir()
    with pytest.raises(ValueError, match=r"at least one image\. Got none in '.*eel'"):
        load_image_folder(folder)


def test_a_folder_without_classes_is_told_how_to_look(folder):
    with pytest.raises(ValueError, match=r"one sub-folder per class, like dog/cat/1\.jpg"):
        load_image_folder(folder / "dog")


def test_what_is_no_folder_is_an_error(folder):
    for path in (folder / "none", folder / "dog" / "2.png"):
        with pytest.raises(NotADirectoryError, match="with one folder per class"):
            load_image_folder(path)
