"""The tables: what is written is read, what was taken on is not taken on twice, errors come as they are."""

import gc
import sqlite3
from typing import NamedTuple

import pytest

from sktl.store._database import Database


class Key(NamedTuple):
    digest: bytes
    description: str
    n_bytes: int


KEY = Key(b"1", "one", 8)
OTHER = Key(b"2", "other", 8)
VECTORS = {b"a": b"12345678", b"b": b"abcdefgh"}


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "file.sqlite")
    yield database
    database.close()


def test_vectors_are_found_under_their_own_key(database):
    assert database.read(KEY, [b"a"]) == ({}, [], [])
    database.write(KEY, VECTORS, "me", 4.0)
    assert database.read(KEY, [b"a", b"b", b"c"]) == (VECTORS, [], [])
    assert database.read(OTHER, [b"a"]) == ({}, [], [])
    assert database.seconds_per_image(KEY) == 2.0
    assert database.seconds_per_image(OTHER) == 0.0


def test_reading_writes_nothing(database):
    database.write(KEY, VECTORS, "me", 1.0)
    database._connection.execute("PRAGMA query_only = 1")
    database.read(KEY, list(VECTORS))
    database.read(OTHER, list(VECTORS))
    database.seconds_per_image(OTHER)


def test_more_vectors_than_fit_into_one_query(database):
    many = {str(i).encode(): b"%08d" % i for i in range(3000)}
    assert database.claim(KEY, many, "me", lambda lease: True) == set(many)
    database.write(KEY, many, "me", 1.0)
    assert database.read(KEY, many)[0] == many


def test_claims_are_kept_from_others_until_written_or_released(database):
    assert database.claim(KEY, [b"a", b"b"], "me", lambda lease: True) == {b"a", b"b"}
    assert database.claim(KEY, [b"a", b"c"], "you", lambda lease: True) == {b"c"}
    assert database.claim(OTHER, [b"a"], "you", lambda lease: True) == {b"a"}
    database.release(KEY, [b"a", b"c"], "me")
    assert database.claim(KEY, [b"a", b"b", b"c"], "you", lambda lease: True) == {b"a", b"c"}
    database.write(KEY, {b"b": b"12345678"}, "me", 1.0)
    assert database.claim(KEY, [b"b"], "you", lambda lease: True) == set()


def test_claims_of_the_dead_are_taken_over(database):
    database.claim(KEY, [b"a", b"b"], "dead", lambda lease: True)
    assert database.claim(KEY, [b"a"], "me", lambda lease: lease != "dead") == {b"a"}
    assert database.claim(KEY, [b"b"], "you", lambda lease: True) == {b"b"}


def test_a_frozen_file_is_read_and_left_alone(database, tmp_path):
    database.write(KEY, VECTORS, "me", 1.0)
    database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    frozen = Database(tmp_path / "file.sqlite", "frozen")
    assert frozen.read(KEY, list(VECTORS))[0] == VECTORS
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        frozen.write(KEY, VECTORS, "me", 1.0)
    frozen.close()


def test_one_that_nobody_holds_any_longer_is_closed(tmp_path):
    database = Database(tmp_path / "file.sqlite")
    connection = database._connection
    del database
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_damage_is_an_error(tmp_path):
    (tmp_path / "garbage").write_bytes(b"garbage" * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Database(tmp_path / "garbage")


def test_a_vector_that_does_not_fit_its_checksum_is_withheld_and_deleted(database):
    database.write(KEY, VECTORS, "me", 1.0)
    database._connection.execute("UPDATE vectors SET vector = '12345679' WHERE image = ?", (b"a",))
    found, outdated, damaged = database.read(KEY, list(VECTORS))
    assert (found, outdated, len(damaged)) == ({b"b": VECTORS[b"b"]}, [], 1)
    database.tidy(outdated, damaged)
    assert database.read(KEY, list(VECTORS)) == (found, [], [])


def test_files_that_were_replaced_are_noticed(database, tmp_path):
    assert database.is_in_place()
    (tmp_path / "file.sqlite").rename(tmp_path / "elsewhere")
    assert not database.is_in_place()
