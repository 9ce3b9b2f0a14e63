"""Places that cannot be written to are found out before the work."""

import os
import sys
from pathlib import Path

import pytest

from sktl._atomic_files import replacing
from sktl.cli._places import check_place, with_ending


def test_an_ending_is_added_where_there_is_none(tmp_path):
    assert with_ending("--output", tmp_path / "a", (".csv", ".npz")).name == "a.csv"
    assert with_ending("--output", tmp_path / "a.NPZ", (".csv", ".npz")).name == "a.NPZ"
    with pytest.raises(ValueError, match=r"--output must end in \.csv, \.npz\. Got '.*a\.tar' instead"):
        with_ending("--output", tmp_path / "a.tar", (".csv", ".npz"))
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(ValueError, match=r"Got the folder"):
        with_ending("--output", tmp_path / "b", (".csv",))


def test_a_folder_that_may_not_be_written_to_is_found_out_before(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="must be yours to write to"):
        check_place("--csv", tmp_path / "a.csv")
    check_place("--csv", None)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are files on POSIX")
def test_pipes_and_devices_are_refused_and_stay_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(ValueError, match=r"--csv must be a regular file\. Got '.*' instead"):
            check_place("--csv", path)
        with pytest.raises(ValueError, match=r"--csv must be a regular file"):
            with_ending("--csv", path, (".csv",))
    assert (tmp_path / "pipe.csv").is_fifo()


def test_the_file_that_our_own_output_goes_to_is_refused(tmp_path, monkeypatch):
    with open(tmp_path / "out.txt", "w") as output:
        monkeypatch.setattr(sys, "__stdout__", output)
        with pytest.raises(ValueError, match="must be a regular file"):
            check_place("--csv", tmp_path / "out.txt")
        check_place("--csv", tmp_path / "other.txt")
    check_place("--csv", tmp_path / "out.txt")  # closed by now


@pytest.mark.parametrize("name", ["n" * 246 + ".csv", "n." + "c" * 240])
def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path, name):
    path = tmp_path / name
    check_place("--csv", path)
    with replacing(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="Windows says it in another way")
def test_a_name_that_is_too_long_is_found_out_before(tmp_path):
    for name in ("n" * 256, "n" * 250):
        with pytest.raises(OSError, match="too long"):
            with_ending("--output", tmp_path / name, (".parquet",))
