"""``sktl cache export`` and ``import``: what one machine has computed, another one finds."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.cli._app import app
from sktl.datasets import make_fractals
from sktl.store import EmbeddingStore, _moving

parquet = pytest.importorskip("pyarrow.parquet")


def run(*arguments):
    result = CliRunner().invoke(app, ["cache", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture(scope="module")
def images():
    return make_fractals(12, n_classes=2, random_state=0)[0]


@pytest.fixture
def vectors(images, tmp_path):
    """Vectors that a store has, and one of it in another recipe."""
    PretrainedFeatureExtractor(cache=tmp_path / "one", layer="stage2").fit_transform(images[:3])
    return PretrainedFeatureExtractor(cache=tmp_path / "one").fit_transform(images)


def n_computed(images, cache, **options):
    extractor = PretrainedFeatureExtractor(cache=cache, **options).fit(images)
    vectors = extractor.transform(images)
    return vectors, extractor.store_info_.n_misses


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_what_was_exported_is_looked_up_and_imported(images, vectors, tmp_path, scheme):
    shared = f"{scheme}{tmp_path / 'shared'}"
    done = run("export", shared, "--folder", tmp_path / "one")
    assert done.stderr == f"Wrote 15 embeddings to {shared}, in 2 segments.\n"
    for cache in ([tmp_path / "two", shared], [False, shared]):
        found, n_misses = n_computed(images, cache)
        np.testing.assert_array_equal(found, vectors)
        assert n_misses == 0
    two = tmp_path / "two"
    assert not two.exists() or EmbeddingStore(two, 10**9).usage().n_vectors == 0
    assert run("import", shared, "--folder", two).stderr == f"Added 15 embeddings from {shared} to {two}.\n"
    found, n_misses = n_computed(images, two)
    np.testing.assert_array_equal(found, vectors)
    assert n_misses == n_computed(images[:3], two, layer="stage2")[1] == 0
    assert run("import", shared, "--folder", two).stderr.startswith("Added 0 embeddings")


@pytest.mark.usefixtures("vectors")
def test_only_what_is_missing_is_exported(images, tmp_path):
    one, shared = tmp_path / "one", tmp_path / "shared"
    assert "Wrote 12 embeddings" in run("export", shared, "--folder", one, "--recipe", "STAGE4").stderr
    assert "Wrote 3 embeddings" in run("export", shared, "--folder", one).stderr
    assert "Wrote 0 embeddings" in run("export", shared, "--folder", one).stderr
    PretrainedFeatureExtractor(cache=one).fit_transform(images[:, ::-1])
    before = set(shared.rglob("*"))
    assert "Wrote 12 embeddings" in run("export", shared, "--folder", one).stderr
    assert before < set(shared.rglob("*"))


@pytest.mark.usefixtures("vectors")
def test_files_are_of_bounded_size(images, tmp_path, monkeypatch):
    monkeypatch.setattr(_moving, "_TOGETHER", 5 * 192 * 4)
    assert "Wrote 15 embeddings" in run("export", tmp_path / "shared", "--folder", tmp_path / "one").stderr
    n_rows = [parquet.read_metadata(file).num_rows for file in (tmp_path / "shared").rglob("*.parquet")]
    assert sum(n_rows) == 15
    assert max(n_rows) <= 10  # the narrower recipe has more of them in as many bytes
    assert "Added 15" in run("import", tmp_path / "shared", "--folder", tmp_path / "two").stderr
    assert n_computed(images, tmp_path / "two")[1] == 0


def test_activations_at_a_split_point_are_exported_too(tmp_path):
    X, y = make_fractals(16, n_classes=2, random_state=0)
    options = {"unfreeze_depth": 1, "max_epochs": 1, "augment": None, "random_state": 0}
    first = FineTuneClassifier(**options, cache=tmp_path / "one").fit(X, y)
    run("export", tmp_path / "shared", "--folder", tmp_path / "one")
    model = FineTuneClassifier(**options, cache=[tmp_path / "two", tmp_path / "shared"]).fit(X, y)
    assert model.store_info_.n_misses == 0 < first.store_info_.n_misses
    assert model.store_info_.segments == {str(tmp_path / "shared"): model.store_info_.n_hits}
    np.testing.assert_array_equal(model.predict_proba(X), first.predict_proba(X))


@pytest.mark.usefixtures("vectors")
def test_info_shows_the_tiers(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    run("export", shared, "--folder", tmp_path / "one")
    monkeypatch.setenv("SKTL_CACHE_SEGMENTS", f"{shared}, memory://{tmp_path.name}-nothing")
    result = run("info", "--folder", tmp_path / "one")
    assert f"{tmp_path / 'one'}: 15 embeddings" in result.stdout
    assert f"{shared}: 15 embeddings in 2 segments" in result.stdout
    assert f"memory://{tmp_path.name}-nothing: 0 embeddings in 0 segments" in result.stdout
    found = json.loads(run("info", "--json", "--folder", tmp_path / "one").stdout)
    assert found["n_vectors"] == 15
    assert [one["n_vectors"] for one in found["segments"]] == [15, 0]
    assert sum(one["n_bytes"] for one in found["segments"][0]["recipes"]) == sum(
        file.stat().st_size for file in shared.rglob("*.parquet")
    )
    monkeypatch.setenv("SKTL_CACHE_SIZE", "0")
    result = run("info")
    assert result.stdout.startswith(f"{shared}: 15 embeddings")
    assert "Error: there is no store, since SKTL_CACHE_SIZE is 0." in run("clear").stderr


@pytest.mark.usefixtures("vectors")
def test_what_cannot_be_moved_is_said(tmp_path, monkeypatch):
    one, shared = tmp_path / "one", tmp_path / "shared"
    result = run("export", shared, "--folder", one, "--recipe", "resnet50")
    assert result.exit_code == 1
    assert "recipe must be a part of what the store has embeddings of. Got 'resnet50' instead." in result.stderr
    assert "folder must be a folder of segments. Got" in run("import", tmp_path / "none", "--folder", one).stderr
    run("export", shared, "--folder", one)
    monkeypatch.setenv("SKTL_CACHE_SIZE", "1KB")
    result = run("import", shared, "--folder", tmp_path / "two")
    assert result.exit_code == 1
    assert "SKTL_CACHE_SIZE must be " in result.stderr


@pytest.mark.filterwarnings("always")
@pytest.mark.usefixtures("vectors")
def test_damaged_segments_are_neither_imported_nor_in_the_way(images, tmp_path):
    one, shared, two = (tmp_path / name for name in ("one", "shared", "two"))
    run("export", shared, "--folder", one)
    largest, other = sorted(shared.rglob("*.parquet"), key=lambda file: -file.stat().st_size)
    other.write_bytes(other.read_bytes()[:-3])
    damaged = bytearray(largest.read_bytes())
    damaged[5000] ^= 4
    largest.write_bytes(damaged)
    result = run("import", shared, "--folder", two)
    assert "has files that are skipped, such as" in result.stderr
    assert "holds damaged vectors" in result.stderr
    assert "Added 11 embeddings" in result.stderr
    assert n_computed(images, two)[1] == 1
    # What is damaged in the folder counts as missing there.
    assert "Wrote 3 embeddings" in run("export", shared, "--folder", one).stderr
