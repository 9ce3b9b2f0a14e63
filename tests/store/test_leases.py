"""A lease counts as alive for exactly as long as somebody holds it."""

import os

import pytest

from sktl.store import _leases
from sktl.store._leases import Leases


def test_a_lease_is_alive_until_it_is_released(tmp_path):
    mine, others = Leases(tmp_path / "locks"), Leases(tmp_path / "locks")
    one, two = mine.acquire(), mine.acquire()
    assert one != two
    mine.release(one)
    assert [leases.is_alive(lease) for leases in (mine, others) for lease in (one, two)] == [False, True] * 2
    mine.release(two)
    mine.release(two)
    assert not list((tmp_path / "locks").iterdir())


def test_a_link_to_the_folder_tells_the_same(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    leases = Leases(tmp_path)
    lease = leases.acquire()
    assert Leases(tmp_path / "link").is_alive(lease)
    leases.release(lease)
    assert not Leases(tmp_path / "link").is_alive(lease)


def test_asking_leaves_the_lock_as_it_is(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    leases = Leases(tmp_path)
    lease = leases.acquire()
    assert all(Leases(tmp_path / "link").is_alive(lease) for _ in range(3))
    leases.release(lease)


@pytest.mark.parametrize("name", ["", "me", "../" * 5 + "etc/passwd", "\0", b"0" * 32, 5, None, "A" * 32])
def test_what_is_no_lease_is_not_alive(tmp_path, name):
    assert not Leases(tmp_path).is_alive(name)


def test_a_lock_file_that_nobody_holds_is_dead_and_goes(tmp_path):
    leases = Leases(tmp_path)
    path = tmp_path / ("0" * 32 + ".lock")
    path.touch()
    assert not leases.is_alive("0" * 32)
    assert not path.exists()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        Leases(tmp_path / "file").acquire()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_nothing_is_held_after_a_failure(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError("no locks here")

    monkeypatch.setattr(_leases, "_lock", fail)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(OSError, match="no locks here"):
        Leases(tmp_path).acquire()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert before == after
    assert not any(path.parent == tmp_path for path in _leases._held)
