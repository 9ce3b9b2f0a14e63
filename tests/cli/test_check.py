"""sktl check finds what is wrong with a folder before anything is learnt from it."""

import json
import shutil
import sys

import pytest
from PIL import Image


@pytest.fixture
def folder(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path / "photos"


def in_parts(folder):
    """Move half of the pictures of each class from train/ to test/."""
    root = folder.parent / "parts"
    for name in ("ants", "bees"):
        for i, path in enumerate(sorted((folder / name).iterdir())):
            part = root / ("train", "Test")[i % 2] / name
            part.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, part)
    return root


def test_a_clean_folder_ends_with_code_0(run_sktl, folder):
    result = run_sktl("check", folder)
    assert result.exit_code == 0, result.output
    assert "20 images in 2 classes\nImages per class: ants 10, bees 10\n" in result.stdout
    assert result.stdout.endswith("Nothing to mend was found\n")
    assert result.stderr == "Looking through 20 images.\n"


def bad_file(folder):
    (folder / "ants" / "00.png").write_bytes((folder / "ants" / "00.png").read_bytes()[:-50])
    return "ants/00.png: the image is damaged or cut off"


def copy_in_another_class(folder):
    first = sorted((folder / "ants").iterdir())[0]
    Image.open(first).convert("L").resize((50, 50)).save(folder / "bees" / "again.jpg")
    return f"{first}, {folder}/bees/again.jpg  (in ants and bees)"


def empty_class(folder):
    (folder / "wasps").mkdir()
    return "Classes without an image that can be read: 'wasps'"


def class_of_bad_files(folder):
    (folder / "wasps").mkdir()
    (folder / "wasps" / "1.png").write_text("x")
    return "Classes without an image that can be read: 'wasps'"


@pytest.mark.parametrize("fault", [bad_file, copy_in_another_class, empty_class, class_of_bad_files])
def test_whatever_is_wrong_is_said_and_makes_the_code_1(run_sktl, folder, fault):
    message = fault(folder)
    result = run_sktl("check", folder)
    assert result.exit_code == 1
    assert message in result.stdout
    assert "Nothing to mend" not in result.stdout
    assert "Error" not in result.stderr


def test_copies_across_training_and_test_folders_are_told(run_sktl, folder):
    root = in_parts(folder)
    result = run_sktl("check", root)
    assert result.exit_code == 0, result.output
    assert "20 images in 2 classes\n" in result.stdout
    assert "Images per part: Test 10, train 10\n" in result.stdout
    first = sorted((root / "train" / "ants").iterdir())[0]
    shutil.copy(first, root / "Test" / "ants" / "copy.png")
    (root / "train" / "wasps").mkdir()
    result = run_sktl("check", root)
    assert result.exit_code == 1
    assert f"{root}/Test/ants/copy.png, {first}  (in Test and train)" in result.stdout
    assert "'train/wasps'" in result.stdout


def test_json_is_all_there_is_on_stdout(run_sktl, folder):
    bad_file(folder)
    (folder / "notes.txt").write_text("x")
    result = run_sktl("check", folder, "--json")
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert not content["is_clean"]
    assert [bad["path"] for bad in content["bad_images"]] == [f"{folder}/ants/00.png"]
    assert content["classes"] == {"ants": 9, "bees": 10}
    assert content["ignored"] == [f"{folder}/notes.txt"]
    assert content["parts"] is None


def test_folders_of_the_system_and_other_files_are_left_out_and_named(run_sktl, folder):
    (folder / "__MACOSX" / "ants").mkdir(parents=True)
    (folder / "__MACOSX" / "ants" / "._00.png").write_text("x")
    (folder / "ants" / "Thumbs.db").write_text("x")
    result = run_sktl("check", folder)
    assert result.exit_code == 0, result.output
    assert f"Left out, being no images: '{folder}/__MACOSX' and '{folder}/ants/Thumbs.db'" in result.stdout


def test_a_folder_without_folders_has_no_classes(run_sktl, folder):
    result = run_sktl("check", folder / "ants")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("10 images\nKinds: colour 10\n")


def test_images_beside_folders_belong_to_none(run_sktl, folder):
    shutil.move(next((folder / "bees").iterdir()), folder)
    result = run_sktl("check", folder)
    assert "Images per class: (no folder) 1, ants 10, bees 9" in result.stdout


@pytest.mark.parametrize(("path", "message"), [("nowhere", "FOLDER must be a folder"), (".", "must have images in it")])
def test_without_images_it_is_an_error(run_sktl, path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_sktl("check", path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_nothing_is_fetched(run_sktl, folder, monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr("socket.socket.connect", refused)
    assert run_sktl("check", folder).exit_code == 0


@pytest.mark.parametrize("command", ["check", "compare", "train"])
def test_what_reads_heic_is_named_once_where_it_is_not_installed(run_sktl, folder, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (folder / "bees" / "phone.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(200))
    options = {"check": [], "compare": ["--json"], "train": ["-o", folder.parent / "model.safetensors"]}[command]
    result = run_sktl(command, folder, *options)
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert said.count("phone.heic") == 1
    assert (
        said.count("Got HEIC instead, which needs the package pillow-heif. Install it with: pip install 'sktl[heif]'")
        == 1
    )
