"""The embedding store as its users see it: where it lies, how large it grows, what is counted."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from sktl.store import _database, _opening, open_store, store_folder

SCRIPT = Path(__file__).with_name("store_script.py")


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 1_000_000.0

        def time(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(_database.time, "time", clock.time)
    return clock


def size_on_disk(folder):
    return sum(file.stat().st_size for file in Path(folder).glob("embeddings-*"))


def test_size_stays_below_the_limit(fresh_store, script, monkeypatch):
    monkeypatch.setenv("SKTL_CACHE_SIZE", "2MB")
    store = open_store()
    for first in range(0, 10000, 100):
        script.compute(store, script.digests(first, first + 100))
        assert store.usage().n_bytes < 2.2e6
    assert store.usage().n_vectors > 1000
    store.close()
    assert size_on_disk(fresh_store) < 2.4e6


def test_a_lower_limit_shrinks_the_file_at_the_next_write(fresh_store, script, monkeypatch):
    store = open_store()
    script.compute(store, script.digests(5000))
    assert size_on_disk(fresh_store) > 4e6
    monkeypatch.setenv("SKTL_CACHE_SIZE", "1MB")
    assert open_store() is store
    script.compute(store, script.digests(5000, 5010))
    assert size_on_disk(fresh_store) < 1.2e6
    assert len(store.read(script.KEY, script.digests(5000, 5010))) == 10


@pytest.mark.parametrize("step", [100, -100])
def test_what_was_used_last_is_kept_longest(script, clock, monkeypatch, step):
    """With a clock that runs backwards too, nothing is wrong, whatever is kept."""
    monkeypatch.setenv("SKTL_CACHE_SIZE", "2MB")
    store = open_store()
    read, unread = script.digests(100), script.digests(100, 200)
    for first in range(0, 8000, 100):
        script.compute(store, script.digests(first, first + 100))
        clock.now += step
        script.compute(store, read)
    assert len(store.read(script.KEY, read)) == 100
    if step > 0:
        assert not store.read(script.KEY, unread)


def test_a_tiny_limit_keeps_nothing_and_harms_nothing(script, monkeypatch):
    monkeypatch.setenv("SKTL_CACHE_SIZE", "1")
    store = open_store()
    for _ in range(3):
        assert script.compute(store, script.digests(100)) <= 5


def test_no_store(monkeypatch, fresh_store):
    assert open_store(False) is None
    monkeypatch.setenv("SKTL_CACHE_SIZE", "0")
    assert open_store() is None
    assert not list(fresh_store.iterdir())


@pytest.mark.parametrize(("text", "size"), [("1000", 1000), ("5 GB", 5 * 10**9), ("1.5m", 1_500_000), ("", 5 * 10**9)])
def test_sizes(monkeypatch, text, size):
    monkeypatch.setenv("SKTL_CACHE_SIZE", text)
    assert open_store().max_bytes == size


@pytest.mark.parametrize("text", ["much", "-1", "5 apples", "1GiB", "nan"])
def test_malformed_sizes_are_refused(monkeypatch, text):
    monkeypatch.setenv("SKTL_CACHE_SIZE", text)
    with pytest.raises(ValueError, match=r"SKTL_CACHE_SIZE must be a number of bytes such as '500MB'.*Got "):
        open_store()


def test_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SKTL_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert store_folder() == tmp_path / ".cache" / "sktl"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store_folder() == tmp_path / "xdg" / "sktl"
    monkeypatch.setenv("SKTL_CACHE_DIR", "~/mine")
    assert open_store().folder == tmp_path / "mine"
    assert open_store("~/other").folder == tmp_path / "other"


@pytest.mark.parametrize("name", ["with spaces", "Bäume 木 🌳", "100%?#[a]*", "~"])
def test_folders_of_any_name(tmp_path, script, name):
    for path in (tmp_path / name, str(tmp_path / name / "below")):
        store = open_store(path)
        assert script.compute(store, script.digests(10)) == 0
        store.close()
        assert script.compute(open_store(path), script.digests(10)) == 10
    assert (tmp_path / name / "below").is_dir()


def test_a_relative_path_is_taken_from_where_one_is(tmp_path, script, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        store = open_store("store")
        script.compute(store, script.digests(10))
    monkeypatch.chdir(tmp_path / "a")
    script.compute(store, script.digests(20))
    assert store.usage().n_vectors == 20
    assert open_store("store").usage().n_vectors == 10
    assert open_store("../b/store") is store


def test_links_to_one_folder_share_vectors_and_claims(tmp_path, script):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    one, other = open_store(tmp_path / "real"), open_store(tmp_path / "link")
    lease = one.begin()
    one.claim(script.KEY, script.digests(10), lease)
    assert script.compute(other, script.digests(20)) == 0
    assert other.usage().n_vectors == 10
    one.end(lease)
    assert script.compute(other, script.digests(20)) == 10
    assert script.compute(one, script.digests(20)) == 20


def test_few_files_are_open_and_those_at_work_stay_open(tmp_path, script):
    first = open_store(tmp_path / "first")
    lease = first.begin()
    assert first.claim(script.KEY, script.digests(10), lease) == set(script.digests(10))
    for number in range(3 * _opening._MAX_OPEN):
        script.compute(open_store(tmp_path / str(number)), script.digests(10))
    assert first.is_open
    assert sum(store.is_open for store in _opening._stores.values()) <= _opening._MAX_OPEN + 1
    assert open_store(tmp_path / "first") is first
    assert first.claim(script.KEY, script.digests(10), "another") == set()
    first.end(lease)
    assert first.claim(script.KEY, script.digests(10), first.begin()) == set(script.digests(10))


def test_stores_are_closed_at_the_end_of_a_process_and_keep_what_they_have(tmp_path, script):
    stores = [open_store(tmp_path / name) for name in "ab"]
    for store in stores:
        assert script.compute(store, script.digests(10)) == 0
        assert store.is_open
    _opening._close_all()
    assert not any(store.is_open for store in stores)
    assert [script.compute(store, script.digests(10)) for store in stores] == [10, 10]


def test_looking_makes_no_files(tmp_path):
    store = open_store(tmp_path / "none")
    usage = store.usage()
    store.clear()
    assert (usage.n_vectors, usage.n_bytes, usage.by_key) == (0, 0, [])
    assert usage.path == str(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_usage_tells_keys_apart(script):
    store = open_store()
    script.compute(store, script.digests(10))
    other = script.Key(b"another", "another key", 768)
    store.write(other, script.vectors(script.digests(3)), None, 2.0)
    store.clear()
    store.write(other, script.vectors(script.digests(3)), None, 5.0)
    script.compute(store, script.digests(10))
    first, second = store.usage().by_key
    assert first == ("a key of the tests", 10, 10 * 768, 10, 0.1)
    assert second == ("another key", 3, 3 * 768, 3, 5.0)


def test_vectors_are_kept_bit_by_bit(script):
    store = open_store()
    strange = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38] * 32, dtype=np.float32)
    store.write(script.KEY, {script.digest(0): strange}, None, 1.0)
    (read,) = store.read(script.KEY, [script.digest(0)]).values()
    assert read.tobytes() == strange.tobytes()


def test_lock_files_of_killed_processes_are_swept(fresh_store, script):
    folder = fresh_store / "processes"
    folder.mkdir()
    for name, age in (("0" * 32, 1000), ("1" * 32, 0)):
        (folder / f"{name}.lock").touch()
        os.utime(folder / f"{name}.lock", (0, (folder / f"{name}.lock").stat().st_mtime - age))
    script.compute(open_store(), script.digests(10))
    assert [file.stem for file in folder.iterdir()] == ["1" * 32]


def test_a_user_without_a_home_has_no_store_and_is_told(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("sktl.store._opening.store_folder", unknown)
    with pytest.warns(UserWarning, match="Set SKTL_CACHE_DIR to a folder"):
        assert open_store(True) is None


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(ValueError, match="cache must be True, False or the path of a folder"):
        open_store("")


def test_the_store_and_its_tests_do_without_torch(fresh_store, start, finish):
    imported = finish(start("report_imports", fresh_store)).split()
    assert "numpy" in imported
    assert not {"torch", "torchvision", "sklearn", "skorch", "PIL"} & set(imported)
    sources = "".join(file.read_text("utf-8") for file in Path(__file__).parent.glob("*.py"))
    assert set(re.findall(r"^ *(?:from|import) (sktl(?:\.\w+)?|torch|sklearn)\b", sources, re.MULTILINE)) == {
        "sktl.store"
    }
