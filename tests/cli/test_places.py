"""Results take the place of former ones in one step, or not at all."""

import os

import pytest

from sktl.cli._places import check_place, replacing, with_ending


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("former")
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "former"
        assert unfinished.suffix == ".txt"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_former_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("former")

    def write_half():
        with replacing(path) as unfinished:
            unfinished.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_files_may_be_read_by_whom_the_user_wants(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a") as unfinished:
        unfinished.touch()
        unfinished.chmod(0o600)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="links need no right on POSIX")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a")
    with replacing(tmp_path / "link") as unfinished:
        unfinished.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "a").read_text() == "new"


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
