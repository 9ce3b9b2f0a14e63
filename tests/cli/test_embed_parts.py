"""sktl embed into a folder: files that are read as one table, written in one step, and gone on with."""

import json
import os
import shutil
import sys
import warnings

import numpy as np
import pandas
import pytest

from sktl import PretrainedFeatureExtractor
from sktl._executors import ThisProcess
from sktl.cli import _embed_parts, _parts

pytest.importorskip("pyarrow")


@pytest.fixture
def copied(photos, tmp_path):
    """The pictures, to be changed."""
    return shutil.copytree(photos, tmp_path / "photos")


@pytest.fixture(scope="module")
def written(run_sktl, photos, tmp_path_factory):
    """A folder of three files."""
    folder = tmp_path_factory.mktemp("features") / "features.parquet"
    result = run_sktl("embed", photos, "-o", f"{folder}/", "--chunk-size", "8")
    assert result.exit_code == 0, result.output
    assert "Embedded 20 images in " in result.stdout
    assert "features.parquet (3 files of " in result.stdout
    assert "with the labels of 2 classes." in result.stdout
    return folder


def state(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def by_dask(folder):
    frame = pytest.importorskip("dask.dataframe").read_parquet(folder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The inplace keyword")  # which is dask's
        return frame.compute()


def by_polars(folder):
    return pytest.importorskip("polars").read_parquet(folder).to_pandas()


def by_duckdb(folder):
    return pytest.importorskip("duckdb").sql(f"from '{folder}/*.parquet' order by path").df()


@pytest.mark.parametrize("read", [pandas.read_parquet, by_dask, by_polars, by_duckdb])
def test_the_folder_is_one_table_to_all_readers(written, photos, read):
    frame = read(written)
    paths = sorted(map(str, photos.rglob("*.png")))
    assert frame["path"].tolist() == paths
    assert frame["label"].tolist() == ["ants"] * 10 + ["bees"] * 10
    expected = PretrainedFeatureExtractor(cache=False).fit(paths)
    assert list(frame.columns[2:]) == expected.get_feature_names_out().tolist()
    assert set(frame.dtypes.iloc[2:]) == {np.dtype(np.float32)}
    np.testing.assert_array_equal(frame.iloc[:, 2:].to_numpy(), expected.transform(paths))


def test_each_file_is_as_the_single_one(run_sktl, written, photos, tmp_path):
    assert run_sktl("embed", photos, "-o", tmp_path / "one.parquet").exit_code == 0
    whole, parts = pandas.read_parquet(tmp_path / "one.parquet"), sorted(written.iterdir())
    assert [len(pandas.read_parquet(part)) for part in parts] == [8, 8, 4]
    pandas.testing.assert_frame_equal(pandas.concat(map(pandas.read_parquet, parts), ignore_index=True), whole)
    assert pandas.read_parquet(parts[1]).attrs == whole.attrs


def test_a_second_run_embeds_and_writes_nothing(run_sktl, written, photos, monkeypatch):
    before = state(written)
    monkeypatch.setattr(_parts, "write_part", None)
    for output in (f"{written}/", written):
        result = run_sktl("embed", photos, "-o", output, "--chunk-size", "8", "--json")
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        assert (report["n_images"], report["n_kept"], report["n_files"]) == (20, 20, 3)
        assert report["store"] == {"n_hits": 0, "n_misses": 0}
    assert state(written) == before


def test_what_is_missing_damaged_or_changed_is_written_again(run_sktl, copied, tmp_path):
    folder = tmp_path / "f.parquet"
    options = ("embed", copied, "-o", f"{folder}/", "--chunk-size", "4", "--json")
    assert run_sktl(*options).exit_code == 0
    before, files = state(folder), sorted(folder.iterdir())
    files[0].unlink()
    files[1].write_bytes(before[files[1].name][0][:-9])
    picture = sorted(copied.rglob("*.png"))[-1]
    picture.write_bytes(sorted(copied.rglob("*.png"))[0].read_bytes())
    (folder / ".sktl-unfinished").touch()
    report = json.loads(run_sktl(*options).stdout)
    assert (report["n_kept"], report["store"]["n_hits"]) == (8, 12)
    after = state(folder)
    assert {name for name in before if before[name][1] == after[name][1]} == {files[2].name, files[3].name}
    assert {name for name in before if before[name][0] == after[name][0]} == {file.name for file in files[:4]}
    frame = pandas.read_parquet(files[4])
    first = pandas.read_parquet(files[0])
    np.testing.assert_array_equal(frame.iloc[-1, 2:].to_numpy(float), first.iloc[0, 2:].to_numpy(float))


@pytest.mark.parametrize("others", ["images", "labels", "size", "network", "precision", "part", "file"])
def test_a_folder_of_something_else_is_refused_before_the_work(run_sktl, copied, tmp_path, others):
    folder = tmp_path / "f.parquet"
    options = ["embed", copied, "-o", f"{folder}/", "--chunk-size", "10"]
    assert run_sktl(*options).exit_code == 0
    if others == "images":
        next(copied.rglob("*.png")).unlink()
    elif others == "labels":
        options[1] = tmp_path / "pictures"
        copied.rename(tmp_path / "pictures")
    elif others == "file":
        (folder / "notes.txt").touch()
    changed = {"size": ("--image-size", "32"), "network": ("--layer", "stage2"), "part": ("--chunk-size", "7")}
    options += {**changed, "precision": ("--precision", "float32")}.get(others, ())
    before = state(folder)
    result = run_sktl(*options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: --output must be a new folder, or one of the same images, labels, network" in result.stderr
    assert state(folder) == before


def test_an_image_that_cannot_be_read_stops_it_or_is_a_row_of_nan_and_is_tried_again(run_sktl, copied, tmp_path):
    picture = sorted(copied.rglob("*.png"))[5]
    content = picture.read_bytes()
    picture.write_text("not a picture")
    folder = tmp_path / "f.parquet"
    options = ("embed", copied, "-o", f"{folder}/", "--chunk-size", "4", "--json")
    result = run_sktl(*options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Error: '{picture}' cannot be read: " in result.stderr
    assert result.stderr.endswith("Leave it out, or pass --on-error nan for a row of NaN.\n")
    for n_kept in (4, 16):  # what was written before, and never the part with the bad one
        result = run_sktl(*options, "--on-error", "nan")
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        assert (report["unreadable"], report["n_kept"]) == ([str(picture)], n_kept)
        assert f"Error: '{picture}' cannot be read: " in result.stderr
        isnan = np.isnan(pandas.read_parquet(folder).iloc[:, 2:].to_numpy()).all(axis=1)
        assert isnan.nonzero()[0].tolist() == [5]
    picture.write_bytes(content)
    report = json.loads(run_sktl(*options).stdout)
    assert (report["unreadable"], report["n_kept"]) == ([], 16)
    assert not pandas.read_parquet(folder).isna().any().any()


def test_an_interrupted_run_goes_on(run_sktl, photos, tmp_path, monkeypatch):
    folder, write_part = tmp_path / "f.parquet", _parts.write_part

    def interrupted(content, paths, part, file, *others):
        if "0000002" in file:
            raise KeyboardInterrupt
        return write_part(content, paths, part, file, *others)

    options = ("embed", photos, "-o", f"{folder}/", "--chunk-size", "4")
    with monkeypatch.context() as patch:
        patch.setattr(_parts, "write_part", interrupted)
        result = run_sktl(*options)
    assert result.exit_code == 130
    assert len(os.listdir(folder)) == 2
    assert "8 of them written before" in run_sktl(*options).stdout
    assert len(os.listdir(folder)) == 5


def test_a_part_without_labels_has_the_columns_of_all(run_sktl, copied, tmp_path):
    for picture in (copied / "ants").iterdir():
        picture.rename(copied / picture.name)
    (copied / "ants").rmdir()
    result = run_sktl("embed", copied, "-o", f"{tmp_path}/f/", "--chunk-size", "5")
    assert result.exit_code == 0, result.output
    labels = by_dask(tmp_path / "f.parquet")["label"]
    assert labels.isna().sum() == 10
    assert by_polars(tmp_path / "f.parquet")["label"].isna().sum() == 10


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("-o", "a.csv", "--workers", "2"), 2, "with a slash behind it"),
        (("-o", "a", "--chunk-size", "5"), 2, "with a slash behind it"),
        (("-o", "a/", "--workers", "2", "--scheduler", "tcp://x:1"), 2, "one of them alone"),
        (("-o", "none/a/"), 1, "The folder to write none/a.parquet to must exist"),
        (("-o", "file.parquet/"), 1, "must be a folder where a slash is behind it. Got the file"),
    ],
)
def test_places_and_options_are_checked_before_the_work(
    run_sktl, photos, tmp_path, monkeypatch, options, code, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.parquet").touch()
    result = run_sktl("embed", photos, *options)
    assert result.exit_code == code
    assert message in " ".join(result.output.replace("│", " ").split())
    assert "Embedding" not in result.stderr
    assert os.listdir(tmp_path) == ["file.parquet"]


def test_a_worker_that_is_killed_is_said(run_sktl, photos, tmp_path, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    class Broken(ThisProcess):
        def submit(self, *arguments):
            raise BrokenProcessPool("a process was terminated abruptly")

        def shutdown(self, **options):
            pass

    monkeypatch.setattr(_embed_parts, "_processes", lambda n_workers: Broken())
    result = run_sktl("embed", photos, "-o", f"{tmp_path}/f/", "--workers", "2")
    assert result.exit_code == 1
    assert "Got BrokenProcessPool instead: a worker was killed" in result.stderr
    assert "run the same command, with fewer --workers" in result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("time_limit")
@pytest.mark.parametrize("how", ["workers", "scheduler"])
def test_processes_and_clusters_write_the_same_files(run_sktl, written, photos, tmp_path, monkeypatch, how):
    monkeypatch.chdir(photos.parent)  # where workers are not
    options = ("embed", photos.name, "-o", f"{tmp_path}/f/", "--chunk-size", "8", "--json")
    if how == "workers":
        result = run_sktl(*options, "--workers", "2")
    else:
        distributed = pytest.importorskip("distributed")
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
            result = run_sktl(*options, "--scheduler", cluster.scheduler_address)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_files"] == 3
    frame, expected = pandas.read_parquet(tmp_path / "f.parquet"), pandas.read_parquet(written)
    assert (photos.parent / frame["path"][0]).is_file()
    pandas.testing.assert_frame_equal(frame.drop(columns="path"), expected.drop(columns="path"))


def test_the_parts_are_trained_on(run_sktl, written, tmp_path):
    result = run_sktl("train", "--features", written, "-o", tmp_path / "m")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Trained frozen on 20 images of 2 classes (ants, bees): ")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
def test_names_that_are_no_text_come_back(run_sktl, photos, tmp_path):
    odd = tmp_path / "pictures" / "caf\udce9" / "\udcff.png"
    odd.parent.mkdir(parents=True)
    odd.write_bytes(next(photos.rglob("*.png")).read_bytes())
    assert run_sktl("embed", tmp_path / "pictures", "-o", f"{tmp_path}/f/").exit_code == 0
    assert pandas.read_parquet(tmp_path / "f.parquet")["label"].tolist() == [r"caf\udce9"]
