"""Whatever happens to the files of a store: no wrong vector, no error, at most one warning, and then it works again."""

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sktl.store import _database, _leases
from sktl.store._store import EmbeddingStore

SCRIPT = Path(__file__).with_name("store_script.py")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the faults are made by means of POSIX")


def files_of(folder, suffix=""):
    return sorted(folder.glob(f"embeddings-*.sqlite{suffix}"))


@contextlib.contextmanager
def at_most_one_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
    assert len(caught) <= 1, [str(one.message) for one in caught]
    assert all(issubclass(one.category, UserWarning) for one in caught)


@pytest.fixture(scope="module")
def filled(tmp_path_factory, script):
    """A store of 600 vectors, as a killed process leaves it: with a log that has not been written back."""
    folder, copy = tmp_path_factory.mktemp("filled"), tmp_path_factory.mktemp("copy") / "store"
    store = script.open_at(folder)
    for start in range(0, 600, 60):
        script.compute(store, script.digests(start, start + 60))
        if start == 240:
            store.close()
    shutil.copytree(folder, copy)
    store.close()
    assert files_of(copy, "-wal")
    return copy


def truncate(file, choose):
    os.truncate(file, choose.randrange(file.stat().st_size))


def flip(file, choose):
    content = bytearray(file.read_bytes())
    for _ in range(choose.choice([1, 1, 10, 1000])):
        # Half of them where the structure of the file is: at the start of a page.
        place = choose.randrange(len(content))
        if choose.random() < 0.5:
            place = min(place // 16384 * 16384 + choose.randrange(128), len(content) - 1)
        content[place] ^= 1 << choose.randrange(8)
    write_over(file, bytes(content))


def scramble(file, choose):
    content = bytearray(file.read_bytes())
    place, length = choose.randrange(len(content)), choose.choice([1, 100, 10000])
    content[place : place + length] = choose.randbytes(length)
    write_over(file, bytes(content))


def fill_with_garbage(file, choose):
    write_over(file, choose.randbytes(choose.choice([10, 5000, 100000])))


def empty(file, choose):
    os.truncate(file, 0)


def delete(file, choose):
    file.unlink()


def write_over(file, content):
    """Change a file in place, as others may have it open."""
    with file.open("r+b") as stream:
        stream.write(content)
        stream.truncate()


FAULTS = [truncate, flip, scramble, fill_with_garbage, empty, delete]


def damage_and_use(filled, folder, script, fault, seed, *, while_open):
    choose = random.Random(seed)
    shutil.copytree(filled, folder)
    store = script.open_at(folder)
    wanted = script.digests(0, 700)
    if while_open:
        assert len(store.read(script.KEY, wanted)) == 600
    file = choose.choice([*files_of(folder), *files_of(folder, "-wal")])
    fault(file, choose)
    with at_most_one_warning():
        for _ in range(3):
            n_found = script.compute(store, wanted)
            store.seconds_per_image(script.KEY)
        assert n_found == 700
        store.usage()  # reads pages that nothing else has read, and may find the damage only now
        store.clear()
        assert script.compute(store, wanted) == 0
        assert script.compute(store, wanted) == 700
        store.close()
    other = script.open_at(folder)
    with at_most_one_warning():
        script.compute(other, wanted)  # a log that was damaged while it was open may be lost when it is closed
        assert script.compute(other, wanted) == 700
        other.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("while_open", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files_never_give_a_wrong_vector(filled, tmp_path, script, fault, while_open):
    for seed in range(2):
        damage_and_use(filled, tmp_path / str(seed), script, fault, seed, while_open=while_open)


@pytest.mark.slow
@pytest.mark.parametrize("while_open", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files_never_give_a_wrong_vector_in_many_trials(filled, tmp_path, script, fault, while_open):
    for seed in range(2, 150):
        damage_and_use(filled, tmp_path / str(seed), script, fault, seed, while_open=while_open)


@pytest.fixture(scope="module")
def closed(tmp_path_factory, script):
    """The one file of a store of 20 vectors that was closed in order, and the bytes in it that are not empty space."""
    folder = tmp_path_factory.mktemp("closed")
    store = script.open_at(folder)
    script.compute(store, script.digests(20))
    store.close()
    (file,) = files_of(folder)
    content = file.read_bytes()
    return file, [place for place in range(3 * 16384) if any(content[max(place - 4, 0) : place + 5])]


def change_and_use(file, folder, script, place, value):
    folder.mkdir()
    content = file.read_bytes()
    (folder / file.name).write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
    store = script.open_at(folder)
    with at_most_one_warning():
        store.usage()
        for _ in range(3):
            n_found = script.compute(store, script.digests(25))
        assert n_found == 25
        assert [type(value) for value in store.usage().by_key[0]] == [str, int, int, int, float]
        store.clear()
        assert (store.usage().n_vectors, script.compute(store, script.digests(25))) == (0, 0)
        store.close()
    shutil.rmtree(folder)


def changes_of(closed, step):
    """Each byte with one bit changed, or made one that begins no letter of UTF-8."""
    file, places = closed
    content = file.read_bytes()
    for number, place in enumerate(places[::step]):
        value = content[place]
        yield place, 0xD8 if number % 2 and value != 0xD8 else value ^ 1 << number % 8


def test_a_changed_byte_costs_at_most_what_was_stored(closed, tmp_path, script):
    for place, value in changes_of(closed, 120):
        change_and_use(closed[0], tmp_path / "store", script, place, value)


@pytest.mark.slow
def test_each_changed_byte_costs_at_most_what_was_stored(closed, tmp_path, script):
    for place, value in changes_of(closed, 2):
        change_and_use(closed[0], tmp_path / "store", script, place, value)


@pytest.mark.parametrize(
    "text", [b"vectors_by_use", b"CREATE TABLE recipes", b"image BLOB", b"vectors (recipe", b"claims"]
)
def test_letters_in_the_schema_that_are_none_are_damage(closed, tmp_path, script, text):
    place = closed[0].read_bytes().index(text) + 3
    change_and_use(closed[0], tmp_path / "store", script, place, 0xD8)


STRANGERS = [
    "embeddings-v1-copy.sqlite",
    "embeddings-v1-000001-copy.sqlite",
    "embeddings-v1-000001 (1).sqlite",
    "embeddings-v1-000002.sqlite",
    "embeddings-v1-000999.sqlite",
    "embeddings-v1-9999999999.sqlite",
    "embeddings-v1-.sqlite",
    "embeddings-v1-zzz.sqlite",
    "embeddings-v2-000001.sqlite",
]


def make_copy(file, live):
    shutil.copyfile(live, file)


def make_garbage(file, live):
    file.write_bytes(b"my notes")


def make_folder(file, live):
    file.mkdir()


def make_pipe(file, live):
    os.mkfifo(file)


@pytest.mark.parametrize("make", [make_copy, make_garbage, make_folder, make_pipe])
def test_files_of_strangers_are_neither_used_nor_removed(closed, tmp_path, script, make):
    live = tmp_path / closed[0].name
    shutil.copyfile(closed[0], live)
    for name in STRANGERS:
        make(tmp_path / name, live)
    store = script.open_at(tmp_path)
    assert script.compute(store, script.digests(25)) == 20
    assert store.usage().n_vectors == 25
    store.close()
    write_over(live, b"damaged" * 10000)
    with pytest.warns(UserWarning, match="was damaged"):
        script.compute(store, script.digests(25))
    assert script.compute(store, script.digests(25)) == 25
    store.close()
    assert {file.name for file in files_of(tmp_path)} == {*STRANGERS, "embeddings-v1-000003.sqlite"}
    other = script.open_at(tmp_path)
    assert script.compute(other, script.digests(25)) == 25
    other.close()


def test_a_copy_of_a_store_that_has_started_anew_does_not_take_over(closed, tmp_path, script):
    shutil.copyfile(closed[0], tmp_path / closed[0].name)
    write_over(tmp_path / closed[0].name, b"damaged" * 10000)
    store = script.open_at(tmp_path)
    with pytest.warns(UserWarning, match="was damaged"):
        script.compute(store, script.digests(25))
    store.close()
    (second,) = files_of(tmp_path)
    copy = tmp_path / "embeddings-v1-000007.sqlite"
    shutil.copyfile(second, copy)
    for n_found in (25, 30):
        store = script.open_at(tmp_path)
        assert script.compute(store, script.digests(30)) == n_found
        store.close()
    assert files_of(tmp_path) == [second, copy]


def test_a_file_of_an_older_version_that_had_started_anew_is_still_the_store(closed, tmp_path, script):
    content = closed[0].read_bytes()
    (tmp_path / "embeddings-v1-000004.sqlite").write_bytes(content[:60] + bytes(4) + content[64:])
    store = script.open_at(tmp_path)
    assert script.compute(store, script.digests(20)) == 20
    store.close()


@pytest.mark.parametrize(
    ("mode", "said"),
    [(0o700, ""), (0o755, ""), (0o707, "by everybody"), (0o777, "by everybody"), (0o775, "by its group")],
)
def test_a_folder_that_others_may_write_to_is_said_once(fresh_store, script, monkeypatch, mode, said):
    monkeypatch.setattr("sktl.store._store._is_private", lambda group: False)
    fresh_store.chmod(mode)
    store = script.open_at(fresh_store)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            script.compute(store, script.digests(10))
            store.close()
    assert len(caught) == bool(said)
    assert all(said in str(one.message) and "chmod go-w" in str(one.message) for one in caught)


def test_a_folder_of_another_user_is_said(fresh_store, script, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    store = script.open_at(fresh_store)
    with pytest.warns(UserWarning, match="belongs to another user .* could change what is found"):
        script.compute(store, script.digests(10))
    store.close()


def test_a_group_that_a_user_is_alone_in_is_nobody_else(fresh_store, script, monkeypatch):
    fresh_store.chmod(0o775)
    monkeypatch.setattr("grp.getgrgid", lambda number: SimpleNamespace(gr_name="me"))
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_name="me"))
    store = script.open_at(fresh_store)
    script.compute(store, script.digests(10))
    store.close()


def test_folder_deleted_while_open(fresh_store, script):
    store = script.open_at(fresh_store)
    script.compute(store, script.digests(100))
    shutil.rmtree(fresh_store)
    assert script.compute(store, script.digests(100)) == 0
    assert script.compute(store, script.digests(100)) == 100
    store.close()
    assert script.compute(store, script.digests(100)) == 100
    store.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 names no error that would tell them apart")
def test_a_log_that_ends_too_early_is_damage_and_no_failing_disk(filled, tmp_path, script):
    # Connections of a process share what they know of the log, which is no longer what the file holds.
    folder = tmp_path / "store"
    shutil.copytree(filled, folder)
    first, second = script.open_at(folder), script.open_at(folder)
    script.compute(first, script.digests(700))
    (log,) = files_of(folder, "-wal")
    log.unlink()
    log.touch()
    with pytest.warns(UserWarning, match="was damaged"):
        script.compute(second, script.digests(100))
    assert script.compute(second, script.digests(100)) == 100
    first.close()
    second.close()


def test_rows_of_other_types_are_computed_again(fresh_store, script):
    store = script.open_at(fresh_store)
    script.compute(store, script.digests(10))
    connection = store._database._connection
    connection.execute("UPDATE vectors SET vector = 'text', used = 'never' WHERE id = 1")
    connection.execute("UPDATE vectors SET checksum = 5, vector = 1.5 WHERE id = 2")
    connection.execute("UPDATE vectors SET used = 'never' WHERE id = 3")
    connection.execute("UPDATE vectors SET vector = zeroblob(768) WHERE id = 4")
    connection.execute("UPDATE vectors SET image = ? WHERE id = 5", (script.digest(11),))
    connection.execute("UPDATE recipes SET seconds = 'long', n_computed = x'00'")
    connection.execute("INSERT INTO claims SELECT 1, ?, 5", (script.digest(11),))
    connection.execute("INSERT INTO claims SELECT 1, ?, '../../else'", (script.digest(12),))
    assert store.seconds_per_image(script.KEY) == 0
    assert script.compute(store, script.digests(13)) == 6
    assert script.compute(store, script.digests(13)) == 13
    store.close()


def test_kill_at_any_moment(fresh_store, start, finish):
    finish(start("be_killed", fresh_store, 8, 0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_fifty_kills_at_any_moment(fresh_store, start, finish, seed):
    finish(start("be_killed", fresh_store, 50, seed), timeout=600)


def test_two_writers_and_two_readers(fresh_store, start, finish):
    finish(start("work_together", fresh_store, 1.5))


@pytest.mark.slow
def test_two_writers_and_two_readers_for_a_minute(fresh_store, start, finish):
    finish(start("work_together", fresh_store, 60))


@pytest.mark.parametrize("n_times", [8, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["create_together", "start_anew_together"])
def test_two_processes_make_the_files_at_once(fresh_store, start, finish, what, n_times):
    finish(start(what, fresh_store, n_times))


# no writing


def check_degraded(store, script, n_found):
    with at_most_one_warning() as caught:
        for _ in range(2):
            assert script.compute(store, script.digests(1000)) == n_found
        store.usage()
        store.clear()
        store.close()
    assert len(caught) == 1


def test_a_folder_that_is_a_file(tmp_path, script):
    (tmp_path / "file").touch()
    check_degraded(script.open_at(tmp_path / "file"), script, 0)
    check_degraded(script.open_at(tmp_path / "file" / "below"), script, 0)


@contextlib.contextmanager
def mounted(folder, size):
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_read_only_folder_still_gives_what_it_holds(tmp_path, script):
    with mounted(tmp_path / "mounted", "20m") as folder:
        store = script.open_at(folder / "full")
        script.compute(store, script.digests(100))
        store.close()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        check_degraded(script.open_at(folder / "full"), script, 100)
        check_degraded(script.open_at(folder / "none"), script, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk_still_gives_what_it_holds(tmp_path, script, monkeypatch):
    monkeypatch.setattr(_database, "_USED_RESOLUTION", -1)
    with mounted(tmp_path / "mounted", "3m") as folder:
        store = script.open_at(folder)
        script.compute(store, script.digests(100))
        with at_most_one_warning() as caught:
            for first in range(0, 10000, 100):
                script.compute(store, script.digests(first, first + 100))
            assert script.compute(store, script.digests(100)) == 100
            assert len(store.read(script.KEY, script.digests(10000))) > 500
        assert "full" in str(caught[0].message)
        store.close()
        with contextlib.suppress(OSError):
            (folder / "rest").write_bytes(bytes(4 * 2**20))
        other = script.open_at(folder)
        with at_most_one_warning():
            assert script.compute(other, script.digests(100)) == 100
        other.close()


def test_files_that_may_not_grow(tmp_path, script, monkeypatch):
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = script.open_at(tmp_path)
    script.compute(store, script.digests(100))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[0][1]))
        with at_most_one_warning() as caught:
            for first in range(0, 10000, 100):
                script.compute(store, script.digests(first, first + 100))
            assert script.compute(store, script.digests(100)) == 100
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert len(caught) == 1
    store.close()


def test_a_lock_that_is_never_given_back(fresh_store, script, monkeypatch):
    """As of a process that was stopped in the middle of writing."""
    monkeypatch.setattr(_database, "_MAX_WAIT", 0.05)
    store = script.open_at(fresh_store)
    script.compute(store, script.digests(100))
    other = sqlite3.connect(files_of(fresh_store)[0], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.close()
    check_degraded(store, script, 100)
    other.close()


# forks and other processes


def test_fork_while_the_store_is_open_and_at_work(fresh_store, script):
    store = script.open_at(fresh_store)
    from sktl.store import open_store

    store = open_store(fresh_store)
    script.compute(store, script.digests(50))
    lease = store.begin()
    assert store.claim(script.KEY, script.digests(50, 60), lease) == set(script.digests(50, 60))
    child = os.fork()
    if not child:
        try:
            found = len(store.read(script.KEY, script.digests(60)))
            mine = store.claim(script.KEY, script.digests(50, 60), store.begin())
            n_held = len(_leases._held)
            script.compute(store, script.digests(100, 150))
            store.close()
            os._exit(0 if (found, mine, n_held) == (50, set(), 1) else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.write(script.KEY, script.vectors(script.digests(50, 60)), lease, 0.1)
    store.end(lease)
    assert script.compute(store, script.digests(0, 60)) == 60
    assert script.compute(store, script.digests(100, 150)) == 50


def test_a_child_does_not_keep_the_claims_of_its_parent_alive(fresh_store, script):
    leases = _leases.Leases(fresh_store)
    name = leases.acquire()
    (read, write), (is_ready, ready) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        os.write(ready, b"!")
        os.read(read, 1)
        os._exit(0)
    os.read(is_ready, 1)
    os.close(_leases._held.pop(fresh_store / f"{name}.lock"))  # what the system does when a process ends
    assert not leases.is_alive(name)
    for descriptor in (write, read, is_ready, ready):
        os.close(descriptor)
    os.waitpid(child, 0)


def test_clear_gives_the_space_back_while_another_process_is_at_work(fresh_store, script, start, finish):
    process = start("hold", fresh_store)
    assert process.stdout.readline() == "ready\n"
    store = script.open_at(fresh_store)
    for first in range(0, 3000, 100):
        script.compute(store, script.digests(first, first + 100))
    store.clear()
    assert sum(file.stat().st_size for file in files_of(fresh_store, "*")) < 400_000
    assert store.usage().n_vectors == 0
    process.stdin.write("\n")
    process.stdin.flush()
    finish(process)
    assert store.usage().n_vectors == 100
    store.close()


def test_an_interrupted_transaction_is_mended(fresh_store, script):
    store = script.open_at(fresh_store)
    script.compute(store, script.digests(10))
    store._database._connection.execute("BEGIN IMMEDIATE")  # a KeyboardInterrupt right after this
    script.compute(store, script.digests(20))
    assert script.compute(store, script.digests(20)) == 20
    assert isinstance(store, EmbeddingStore)
    assert np.all([np.isfinite(one) for one in store.read(script.KEY, script.digests(20)).values()])
    store.close()
