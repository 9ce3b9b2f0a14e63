"""sktl embed writes the vectors of the extractor, with paths and labels, in formats that anything reads."""

import csv
import json
import os
import sys
from importlib import import_module

import numpy as np
import pandas
import pytest

from sktl import PretrainedFeatureExtractor
from sktl._text import unescaped


@pytest.fixture
def paths(photos):
    return sorted(map(str, photos.rglob("*.png")))


@pytest.fixture
def expected(paths):
    return PretrainedFeatureExtractor(cache=False).fit(paths).transform(paths)


@pytest.fixture
def broken(photos, tmp_path):
    """A flat folder with a file that is no picture."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in sorted((photos / "ants").iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "00b.png").write_text("not a picture")
    return folder


def test_npz_holds_text_and_numbers_and_no_pickle(run_sktl, photos, paths, expected, tmp_path):
    result = run_sktl("embed", photos, "-o", tmp_path / "features.npz", "--quiet")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "features.npz", allow_pickle=False) as arrays:
        assert arrays["path"].tolist() == paths
        assert arrays["label"].tolist() == ["ants"] * 10 + ["bees"] * 10
        assert arrays["features"].dtype == np.float32
        np.testing.assert_array_equal(arrays["features"], expected)
        assert len(arrays["feature_names"]) == expected.shape[1]
        about = json.loads(str(arrays["about"]))
    assert about["backbone"]["license"] == "BSD-3-Clause"
    assert (about["layers"], about["pooling"], about["image_size"]) == (["stage4"], "auto", 48)


def test_csv_holds_the_same_numbers(run_sktl, photos, paths, expected, tmp_path):
    assert run_sktl("embed", photos, "-o", tmp_path / "features.csv").exit_code == 0
    with open(tmp_path / "features.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:3] == ["path", "label", "stage4_000"]
    assert [row[:2] for row in rows] == [[path, os.path.basename(os.path.dirname(path))] for path in paths]
    np.testing.assert_array_equal(np.array([row[2:] for row in rows], dtype=np.float32), expected)


def test_parquet_holds_the_same_numbers(run_sktl, photos, paths, expected, tmp_path):
    pytest.importorskip("pyarrow")
    assert run_sktl("embed", photos, "-o", tmp_path / "features").exit_code == 0
    frame = pandas.read_parquet(tmp_path / "features.parquet")
    assert list(frame.columns[:3]) == ["path", "label", "stage4_000"]
    assert frame["path"].tolist() == paths
    assert frame["label"].tolist() == ["ants"] * 10 + ["bees"] * 10
    np.testing.assert_array_equal(frame.iloc[:, 2:].to_numpy(), expected)
    assert frame.dtypes.iloc[2] == np.float32
    assert frame.attrs["sktl"]["backbone"]["name"] == "tiny_fractal"


def test_images_without_class_folders_have_no_labels(run_sktl, photos, paths, expected, tmp_path):
    for arguments in ([photos / "ants"], paths[:10]):
        result = run_sktl("embed", *arguments, "-o", tmp_path / "a.npz")
        assert result.exit_code == 0, result.output
        assert "without labels" in result.stdout
        with np.load(tmp_path / "a.npz") as arrays:
            assert "label" not in arrays
            np.testing.assert_array_equal(arrays["features"], expected[:10])


def test_options_reach_the_extractor(run_sktl, photos, paths, tmp_path):
    options = "--layer stage2 --layer 0 --pooling max --image-size 32 --precision float32 --device cpu --n-jobs 1"
    assert run_sktl("embed", photos, "-o", tmp_path / "a.npz", *options.split()).exit_code == 0
    wanted = PretrainedFeatureExtractor(layer=["stage2", 0], pooling="max", image_size=32, cache=False)
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["features"], wanted.fit(paths).transform(paths))
        assert arrays["feature_names"].tolist() == wanted.get_feature_names_out().tolist()


def test_a_second_run_takes_everything_from_the_store(run_sktl, photos, tmp_path, fresh_store):
    first = json.loads(run_sktl("embed", photos, "-o", tmp_path / "a.csv", "--json").stdout)
    assert first["store"] == {"path": str(fresh_store), "n_hits": 0, "n_misses": 20}
    assert (first["n_images"], first["n_features"], first["classes"]) == (20, 192, ["ants", "bees"])
    result = run_sktl("embed", photos, "-o", tmp_path / "b.csv")
    assert "20 of them found in the store" in result.stdout
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_an_interrupted_run_goes_on_from_the_store(run_sktl, photos, tmp_path, monkeypatch):
    from sktl.cli import _embed

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_embed, "write_features", interrupted)
        result = run_sktl("embed", photos, "-o", tmp_path / "a.npz")
    assert result.exit_code == 130
    assert "What is in the store by now is not computed again" in result.stderr
    assert os.listdir(tmp_path) == []
    assert "20 of them found in the store" in run_sktl("embed", photos, "-o", tmp_path / "a.npz").stdout


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_written(run_sktl, broken, tmp_path):
    result = run_sktl("embed", broken, "-o", tmp_path / "a.npz", "--quiet")
    assert result.exit_code == 1
    assert f"Error: '{broken / '00b.png'}' cannot be read: " in result.stderr
    assert result.stderr.endswith("Leave it out, or pass --on-error nan for a row of NaN.\n")
    assert not (tmp_path / "a.npz").exists()


def test_an_image_that_cannot_be_read_can_be_a_row_of_nan(run_sktl, broken, expected, tmp_path):
    result = run_sktl("embed", broken, "-o", tmp_path / "a.npz", "--on-error", "nan")
    assert result.exit_code == 0
    assert "1 images could not be read: their rows are NaN." in result.stdout
    assert f"Error: '{broken / '00b.png'}' cannot be read: " in result.stderr
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.isnan(arrays["features"]).all(axis=1).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photos}", "-o", "a.txt"], "--output must end in .parquet, .npz, .csv. Got 'a.txt' instead."),
        (["{photos}", "-o", "none/a.csv"], "The folder to write none/a.csv to must exist"),
        (["none", "-o", "a.csv"], "IMAGES must be files or folders. Found nothing at 'none' instead."),
        (["{photos}", "-o", "a.csv", "--layer", "stage9"], "Did you mean 'stage4'?"),
        (["{photos}", "-o", "a.csv", "--backbone", "resnet1"], "backbone must be a name"),
        (["{photos}", "-o", "a.csv", "--device", "cuda:77"], "device must exist on this machine"),
    ],
)
def test_errors_are_one_message_and_code_1(run_sktl, photos, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run_sktl("embed", *(argument.format(photos=photos) for argument in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", [["--pooling", "most"], ["--on-error", "skip"], ["--weights", "none"]])
def test_wrong_usage_ends_with_code_2(run_sktl, photos, tmp_path, options):
    assert run_sktl("embed", photos, "-o", tmp_path / "a.csv", *options).exit_code == 2


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_what_is_not_installed_is_found_out_before_the_work(run_sktl, photos, tmp_path, monkeypatch, package):
    def missing(name):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=package)
        return import_module(name)

    monkeypatch.setattr("sktl._optional.import_module", missing)
    result = run_sktl("embed", photos, "-o", tmp_path / "a.parquet")
    assert result.exit_code == 1
    assert f"Writing .parquet needs {package}, which is not installed" in result.stderr
    assert "Embedding" not in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_names_that_are_no_text_come_back_from_every_format(run_sktl, photos, tmp_path, ending):
    odd = tmp_path / "pictures" / "caf\udce9" / "\udcff \\udcff.png"  # a byte, and what looks like one
    odd.parent.mkdir(parents=True)
    odd.write_bytes(next(photos.rglob("*.png")).read_bytes())
    output = tmp_path / f"a.{ending}"
    result = run_sktl("embed", tmp_path / "pictures", "-o", output)
    assert result.exit_code == 0, result.output
    if ending == "npz":
        with np.load(output) as arrays:
            path, label = arrays["path"][0], arrays["label"][0]
    else:
        frame = pandas.read_parquet(output) if ending == "parquet" else pandas.read_csv(output)
        assert frame["label"].tolist() == [r"caf\udce9"]
        path, label = unescaped(frame["path"][0]), unescaped(frame["label"][0])
    assert (os.fsencode(path), label) == (os.fsencode(odd), "caf\udce9")
