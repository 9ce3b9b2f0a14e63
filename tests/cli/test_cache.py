"""The store on the command line says what is there and deletes what it says."""

import json
import os
import shutil
import sqlite3

import pytest
from typer.testing import CliRunner

from sktl import PretrainedFeatureExtractor
from sktl.cli._app import app
from sktl.datasets import make_fractals
from sktl.store import _opening


def run(*arguments):
    return CliRunner().invoke(app, ["cache", *map(str, arguments)])


@pytest.fixture
def images():
    return make_fractals(5, n_classes=2, random_state=0)[0]


def damage_a_letter(folder):
    (file,) = folder.glob("*.sqlite")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(file.read_bytes())
    content[content.index(b"vectors_by_use") + 3] = 0xD8
    file.write_bytes(content)


def put_a_copy_beside(folder):
    (file,) = folder.glob("*.sqlite")
    shutil.copyfile(file, file.with_stem(f"{file.stem}-copy"))
    shutil.copyfile(file, file.with_stem(file.stem.replace("1-000001", "1-000002")))


def let_others_write(folder):
    folder.chmod(0o777)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
@pytest.mark.parametrize(
    ("make", "said", "n_kept"),
    [
        (damage_a_letter, ("was damaged",), 0),
        (put_a_copy_beside, (), 5),
        (let_others_write, ("may be written to by everybody",), 5),
    ],
)
@pytest.mark.filterwarnings("always")
def test_info_and_clear_work_whatever_has_happened_to_the_folder(images, tmp_path, make, said, n_kept):
    folder = tmp_path / "store"
    PretrainedFeatureExtractor(cache=folder).fit_transform(images)
    _opening._stores.pop(folder).close()  # as in another process
    make(folder)
    info = run("info", "--folder", folder)
    assert (info.exit_code, info.exception) == (0, None)
    assert f": {n_kept} embeddings" in info.stdout
    assert all(one in info.stderr for one in said)
    assert bool(info.stderr) == bool(said)
    clear = run("clear", "--folder", folder)
    assert (clear.exit_code, clear.stderr.count("Deleted")) == (0, 1)
    _opening._stores.pop(folder).close()


def test_path_is_the_folder_that_the_environment_names(fresh_store, tmp_path):
    assert run("path").stdout.strip() == str(fresh_store)
    assert run("path", "--folder", tmp_path).stdout.strip() == str(tmp_path)


def test_info_of_a_store_that_is_not_there_yet_says_zero_and_makes_none(tmp_path):
    result = run("info", "--folder", tmp_path / "none")
    assert result.exit_code == 0
    assert "0 embeddings, 0 bytes of at most 5 GB" in result.stdout
    assert not (tmp_path / "none").exists()


def test_info_lists_what_was_computed(images, fresh_store):
    PretrainedFeatureExtractor().fit_transform(images)
    result = run("info")
    assert f"{fresh_store}: 5 embeddings" in result.stdout
    assert "tiny_fractal" in result.stdout
    found = json.loads(run("info", "--json").stdout)
    assert found["n_vectors"] == 5
    assert found["recipes"][0]["n_computed"] == 5
    assert found["recipes"][0]["n_bytes"] == 5 * 192 * 4


def test_clear_deletes_and_says_how_much(images, tmp_path):
    extractor = PretrainedFeatureExtractor(cache=tmp_path).fit(images)
    expected = extractor.transform(images)
    assert "Deleted 5 embeddings" in run("clear", "--folder", tmp_path).stderr
    assert json.loads(run("info", "--json", "--folder", tmp_path).stdout)["n_vectors"] == 0
    assert (extractor.transform(images) == expected).all()
    assert extractor.store_info_.n_misses == 10


def test_without_a_store_there_is_one_message(monkeypatch):
    monkeypatch.setenv("SKTL_CACHE_SIZE", "0")
    result = run("info")
    assert (result.exit_code, result.stderr) == (1, "Error: there is no store, since SKTL_CACHE_SIZE is 0.\n")
    monkeypatch.setenv("SKTL_CACHE_SIZE", "a lot")
    assert "SKTL_CACHE_SIZE must be a number of bytes such as '500MB'" in run("clear").stderr
