"""Files take the place of former ones in one step, or not at all."""

import os
import stat
import subprocess
import sys

import pytest

from sktl import _atomic_files
from sktl._atomic_files import check_not_read, replacing


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


KILLED = """
import os, signal, sys
from pathlib import Path
from sktl import _atomic_files
from sktl._atomic_files import check_not_read, replacing
with replacing(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("half")
    if sys.argv[2] == "wait":
        print("ready", flush=True)
        sys.stdin.readline()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def start(path, how):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", KILLED, str(path), how], **pipes)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX")
def test_what_a_killed_process_has_left_goes_with_the_next_save_and_what_others_write_stays(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("former")
    with start(path, "wait") as living:
        living.stdout.readline()
        with start(path, "be killed") as killed:
            assert killed.wait() == -9
        assert len(os.listdir(tmp_path)) == 3
        with replacing(tmp_path / "b.txt") as unfinished:
            unfinished.write_text("new")
        (left,) = {*os.listdir(tmp_path)} - {"a.txt", "b.txt"}
        assert f"-{living.pid}-" in left
        living.communicate("go on\n")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]
    assert path.read_text() == "half"


DEAD = 2**22 + 1  # more than the greatest number of a process on Linux


@pytest.mark.skipif(os.name != "posix", reason="processes are asked for by POSIX")
def test_only_files_of_our_naming_are_removed_and_those_of_other_machines_when_they_are_old(tmp_path):
    here, token = _atomic_files._machine(), "0123456789abcdef"
    ours = [f".sktl-{here}-{DEAD}-{token}{ending}" for ending in ("", ".safetensors")]
    elsewhere = [f".sktl-00000000-{DEAD}-{token}.csv", f".sktl-{here}-{os.getpid()}-{token}.csv"]
    strangers = [f".sktl-{here}-{DEAD}-notes.txt", f".sktl-{here}-{token}", ".sktl-", ".0123456789abcdef.csv", "a.csv"]
    strangers += [f"sktl-{here}-{DEAD}-{token}.csv", f".sktl-{here}-{DEAD}-{token}.tar.gz"]
    for name in (*ours, *elsewhere, *strangers):
        (tmp_path / name).touch()
    (tmp_path / f".sktl-{here}-{DEAD}-{token}.d").mkdir()
    with replacing(tmp_path / "new") as unfinished:
        unfinished.write_text("new")
    others = {"new", f".sktl-{here}-{DEAD}-{token}.d"}
    assert {*os.listdir(tmp_path)} == {*elsewhere, *strangers} | others
    for name in (*elsewhere, *strangers):
        os.utime(tmp_path / name, (0, 0))
    with replacing(tmp_path / "new") as unfinished:
        unfinished.write_text("newer")
    assert {*os.listdir(tmp_path)} == {*strangers} | others


def test_what_is_read_is_found_by_any_name(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("read")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    os.link(path, tmp_path / "hard")
    (tmp_path / "other").touch()
    for place in (path, str(path), tmp_path / "link", tmp_path / "hard", tmp_path / "folder" / "a.txt"):
        with pytest.raises(ValueError, match=r"--csv must be a file of its own\. Got '.*' instead, which is in use as"):
            check_not_read("--csv", place, ["nothing\0", "missing", tmp_path / "other", path])
    check_not_read("--csv", tmp_path / "other", [path, tmp_path])
    check_not_read("--csv", tmp_path / "new", [path, tmp_path / "new"])


def test_names_of_one_file_on_a_disk_that_does_not_tell_letters_apart_are_one(tmp_path, monkeypatch):
    (tmp_path / "a.png").touch()
    stat_of = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: stat_of(str(path).lower(), **options))
    with pytest.raises(ValueError, match="must be a file of its own"):
        check_not_read("--csv", tmp_path / "A.PNG", [tmp_path / "a.png"])
