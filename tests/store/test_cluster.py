"""When the workers of a cluster have no store in common: whoever they are, by what they say of themselves."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from sktl.store import write_segment
from sktl.store._cluster import _warn_of_separate_stores

HERE, ELSEWHERE = ("one", "/cache", False), ("another", "/cache", False)
PLACES = {
    "one folder on one host": ([HERE, HERE], None),
    "two folders on one host": ([HERE, ("one", "/other", False)], "The 2 workers .* but 2 folders on 1 host: each"),
    "the same path on two hosts": ([HERE, ELSEWHERE], "The 2 workers .* but 2 folders on 2 hosts: each"),
    "two workers on each of two hosts": ([HERE, ELSEWHERE] * 2, "The 4 workers .* but 2 folders on 2 hosts: each"),
    "one without a store": ([HERE, ("one", None, False)], "but 1 folder on 1 host: each"),
    "all without a store": ([("one", None, False)] * 2, "but 0 folders on 1 host: each"),
    "one worker": ([HERE], None),
    "nobody": ([], None),
    "one that reads no segments": ([("one", "/cache", True), ELSEWHERE], "but 2 folders on 2 hosts: each"),
    "segments": ([("one", "/cache", True), ("another", "/cache", True)], None),
    "segments and one folder": ([("one", "/cache", True)] * 2, None),
    "segments without stores": ([("one", None, True), ("another", None, True)], None),
}


def said(places, cache, **options):
    """Return the warnings where workers say that they have these hosts, folders and segments."""
    client = SimpleNamespace(run=lambda function, cache, on_error: dict(enumerate(places)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _warn_of_separate_stores(client, cache, **{"embeds_first": False, **options})
    return [str(warning.message) for warning in caught]


@pytest.fixture
def segments(tmp_path):
    pytest.importorskip("pyarrow")
    key = SimpleNamespace(digest=bytes(32), description="a key", n_bytes=12)
    write_segment(tmp_path, key, {bytes(16): np.zeros(3, dtype=np.float32)})
    return [True, str(tmp_path)]


@pytest.mark.parametrize("name", PLACES)
def test_a_store_is_common_where_one_host_has_it_or_where_it_is_of_segments(name, segments):
    places, message = PLACES[name]
    if message is None:
        assert said(places, segments) == []
    else:
        (found,) = said(places, segments)
        assert re.search(message, found)


def test_segments_that_hold_nothing_are_common_where_they_are_filled_first(tmp_path):
    pytest.importorskip("pyarrow")
    places, cache = PLACES["segments"][0], [True, str(tmp_path)]
    assert "but 2 folders on 2 hosts, and segments with nothing in them: each" in said(places, cache)[0]
    assert said(places, cache, embeds_first=True) == []
