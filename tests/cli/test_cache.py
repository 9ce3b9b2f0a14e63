"""The store on the command line says what is there and deletes what it says."""

import json

import pytest
from typer.testing import CliRunner

from sktl import PretrainedFeatureExtractor
from sktl.cli._app import app
from sktl.datasets import make_fractals


def run(*arguments):
    return CliRunner().invoke(app, ["cache", *map(str, arguments)])


@pytest.fixture
def images():
    return make_fractals(5, n_classes=2, random_state=0)[0]


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
