"""A piece of work counts as alive for exactly as long as somebody does it."""

import os

import pytest

from sktl.store import _leases
from sktl.store._leases import Owners


def test_work_is_alive_until_it_ends(tmp_path):
    mine, others = Owners(tmp_path / "locks"), Owners(tmp_path / "locks")
    one, two = mine.begin(), mine.begin()
    assert one != two
    mine.end(one)
    assert [owners.is_alive(work) for owners in (mine, others) for work in (one, two)] == [False, True] * 2
    mine.end(two)
    mine.end(two)
    assert not list((tmp_path / "locks").iterdir())


def test_a_link_to_the_folder_tells_the_same(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    owners = Owners(tmp_path)
    work = owners.begin()
    assert Owners(tmp_path / "link").is_alive(work)
    owners.end(work)
    assert not Owners(tmp_path / "link").is_alive(work)


def test_asking_leaves_the_lock_as_it_is(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    owners = Owners(tmp_path)
    work = owners.begin()
    assert all(Owners(tmp_path / "link").is_alive(work) for _ in range(3))
    owners.end(work)


@pytest.mark.parametrize("name", ["", "me", "../" * 5 + "etc/passwd", "\0", b"0" * 32, 5, None, "A" * 32])
def test_what_is_no_name_is_not_alive(tmp_path, name):
    assert not Owners(tmp_path).is_alive(name)


def test_a_lock_file_that_nobody_holds_is_dead_and_goes(tmp_path):
    owners = Owners(tmp_path)
    path = tmp_path / ("0" * 32 + ".lock")
    path.touch()
    assert not owners.is_alive("0" * 32)
    assert not path.exists()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        Owners(tmp_path / "file").begin()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_nothing_is_held_after_a_failure(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError("no locks here")

    monkeypatch.setattr(_leases, "_lock", fail)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(OSError, match="no locks here"):
        Owners(tmp_path).begin()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert before == after
    assert not any(path.parent == tmp_path for path in _leases._held)
