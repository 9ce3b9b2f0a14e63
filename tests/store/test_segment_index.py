"""The index of segments finds what a dictionary finds, in memory and in a file alike."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktl.store import _segment_index
from sktl.store._segment_index import ENTRY, Index, entries_of, prefixes_of

# Hashes are even; others must be found as well. Few numbers make equal ones.
NUMBERS = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5), st.integers(2**64 - 3, 2**64 - 1))


def entries(prefixes, segment):
    found = np.zeros(len(prefixes), ENTRY)
    found["prefix"], found["segment"] = np.array(prefixes, dtype=np.uint64), segment
    found["row"] = np.arange(len(prefixes))
    found["checksum"] = np.arange(len(prefixes)) * 7 + segment
    return found


@pytest.mark.parametrize("way", ["pread", "seek"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_finds_what_a_dictionary_finds(data, way):
    pieces = data.draw(st.lists(st.lists(NUMBERS, max_size=8, unique=True), max_size=5))
    wanted = data.draw(st.lists(NUMBERS, max_size=8, unique=True))
    wanted += [number for piece in pieces for number in piece[:2] if number not in wanted]
    wanted = list(dict.fromkeys(wanted))
    parts = [entries(piece, segment) for segment, piece in enumerate(pieces)]
    expected = {}
    for part in parts:
        for entry in part.tolist():
            expected.setdefault(entry[0], []).append(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_segment_index, "_IN_MEMORY", data.draw(st.sampled_from([1 << 20, 4])))
        patch.setattr(_segment_index, "_PIECE", 3)
        if way == "seek":
            patch.delattr(os, "pread", raising=False)
        index = Index(iter(parts), sum(map(len, parts)))
        found = index.find(np.array(wanted, dtype=np.uint64)).tolist()
    assert index.n_entries == sum(map(len, parts))
    assert sorted(found) == sorted(entry for number in wanted for entry in expected.get(number, []))
    for number in wanted:  # of equal ones, in the order of segments
        assert [entry for entry in found if entry[0] == number] == expected.get(number, [])


def test_an_expectation_that_is_wrong_costs_memory_at_most(monkeypatch):
    monkeypatch.setattr(_segment_index, "_IN_MEMORY", 10)
    part = entries(range(1000), 0)
    for n_expected in (0, 11, 10**5):
        index = Index([part], n_expected)
        assert len(index.find(np.arange(500, 1500, dtype=np.uint64))) == 500


def test_mischief_of_equal_prefixes_is_bounded():
    index = Index([entries(np.zeros(100_000, np.uint64), 0)], 100_000)
    assert 0 < len(index.find(np.zeros(1, np.uint64))) <= 2000


def test_entries_are_made_of_columns():
    digests = [bytes([i]) * 16 for i in range(5)]
    checksums = [bytes([10 + i]) * 8 for i in range(5)]
    found = entries_of(b"".join(digests), b"".join(checksums), 3)
    assert found["prefix"].tolist() == [int.from_bytes(digest[:8], "big") for digest in digests]
    assert prefixes_of(digests).tolist() == found["prefix"].tolist()
    assert [checksum.to_bytes(8, "little") for checksum in found["checksum"].tolist()] == checksums
    assert found["row"].tolist() == list(range(5))
    assert set(found["segment"]) == {3}


def test_a_large_index_is_read_after_a_fork(monkeypatch):
    monkeypatch.setattr(_segment_index, "_IN_MEMORY", 10)
    index = Index([entries(range(0, 500, 5), 0)], 100)
    wanted = np.arange(500, dtype=np.uint64)
    child = os.fork()
    if not child:
        os._exit(0 if all(len(index.find(wanted)) == 100 for _ in range(20)) else 1)
    assert all(len(index.find(wanted)) == 100 for _ in range(20))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
