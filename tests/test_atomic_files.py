"""Files take the place of former ones in one step, or not at all."""

import os
import stat

import pytest

from sktl._atomic_files import replacing


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


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o444, 0o640])
def test_a_new_file_has_the_mode_of_the_former_one(tmp_path, mode):
    path = tmp_path / "a"
    path.touch()
    path.chmod(mode)
    with replacing(path) as unfinished:
        assert stat.S_IMODE(unfinished.stat().st_mode) == mode | 0o200
        unfinished.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"
