"""Segments: whoever finds a vector in a folder finds the right one, whatever has happened to the files."""

import json
import os
import re
import shutil
import warnings
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktl.store import SegmentFolder, _key_segments, _segment_format, write_segment

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

SCRIPT = Path(__file__).with_name("store_script.py")


@pytest.fixture(params=["path", "str", "file://", "memory://"])
def place(request, tmp_path):
    """The same folder in the ways that it can be named."""
    if request.param == "memory://":
        pytest.importorskip("fsspec")
    names = {"path": tmp_path, "str": str(tmp_path), "file://": f"file://{tmp_path}"}
    return names.get(request.param, f"memory://{tmp_path.name}-{request.node.name}")


@pytest.fixture
def at_once(monkeypatch):
    """Folders are listed at each look-up."""
    monkeypatch.setattr(_key_segments, "_LISTED_EVERY", {False: 0.0, True: 0.0})


@contextmanager
def one_warning(match):
    """However often the same is met with, one warning says so."""
    with pytest.warns(UserWarning, match=match) as caught:
        yield
    assert len(caught) == 1


def files_in(folder):
    return sorted(Path(folder).rglob("*.parquet"))


def check(found, script, digests):
    """The vectors found are those of some digests, and the right ones."""
    assert len(found) == len(set(digests))
    assert found.keys() == set(digests)
    for digest, vector in found.items():
        np.testing.assert_array_equal(vector, script.vector(digest), strict=True)


def test_what_was_written_is_found(place, script):
    write_segment(place, script.KEY, script.vectors(script.digests(150)))
    write_segment(place, script.KEY, script.vectors(script.digests(140, 300)))
    segments = SegmentFolder(place)
    found = segments.read(script.KEY, script.digests(100, 2000))
    check(found, script, script.digests(100, 300))
    assert not any(vector.flags.writeable for vector in found.values())
    assert segments.holds(script.KEY, script.digests(290, 310)) == set(script.digests(290, 300))
    other = script.KEY._replace(digest=b"another")
    assert segments.read(other, script.digests(300)) == {}
    assert segments.holds(other, script.digests(300)) == set()


@pytest.mark.parametrize(("n_vectors", "width"), [(1, 1), (1, 700), (2, 3), (129, 2), (25_000, 1)])
def test_any_shape(n_vectors, width, tmp_path, script):
    """More rows than a page of Parquet usually has, too."""
    key = script.KEY._replace(n_bytes=4 * width)
    rows = np.random.default_rng(0).normal(size=(n_vectors, width)).astype(np.float32)
    rows.ravel()[0] = -0.0
    digests = script.digests(n_vectors)
    write_segment(tmp_path, key, dict(zip(digests, rows, strict=True)))
    found = SegmentFolder(tmp_path).read(key, digests)
    assert b"".join(found[digest].tobytes() for digest in digests) == rows.tobytes()


def test_any_reader_of_parquet_reads_it(tmp_path, script):
    vectors = script.vectors(script.digests(50))
    write_segment(tmp_path, script.KEY, vectors, seconds=5)
    (file,) = files_in(tmp_path)
    assert file.parent.name == script.KEY.digest.hex()[:16]
    table = parquet.read_table(file)
    images = table["image"].to_pylist()
    assert images == sorted(vectors)
    expected = np.stack([vectors[image] for image in images])
    np.testing.assert_array_equal(np.stack(table["vector"].to_numpy(zero_copy_only=False)), expected)
    checksums = [sha256(script.KEY.digest + image + vectors[image].tobytes()).digest()[:8] for image in images]
    assert table["checksum"].to_pylist() == checksums
    about = json.loads(table.schema.metadata[b"sktl"])
    assert about == {
        "format": 1,
        "key": script.KEY.digest.hex(),
        "width": 192,
        "seconds": 5.0,
        "description": script.KEY.description,
    }
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(file)
    np.testing.assert_array_equal(frame["vector"].to_numpy(), expected)


def test_a_file_is_named_by_what_it_holds(tmp_path, script):
    vectors = script.vectors(script.digests(20))
    names = [write_segment(tmp_path, script.KEY, dict(sorted(vectors.items(), reverse=bool(i)))) for i in range(2)]
    assert names[0] == names[1] == files_in(tmp_path)[0].name
    images = sorted(vectors)
    checksums = [sha256(script.KEY.digest + image + vectors[image].tobytes()).digest()[:8] for image in images]
    expected = sha256(script.KEY.digest + b"".join(images) + b"".join(checksums)).hexdigest()[:32]
    assert names[0] == f"{expected}.parquet"
    changed = {**vectors, images[0]: vectors[images[0]] + 1}
    assert write_segment(tmp_path, script.KEY, changed) != names[0]
    assert len(files_in(tmp_path)) == 2


def test_what_cannot_be_written_is_refused(tmp_path, script, monkeypatch):
    vectors = script.vectors(script.digests(3))
    with pytest.raises(ValueError, match="one or more, by digests of 16 bytes"):
        write_segment(tmp_path, script.KEY, {})
    with pytest.raises(ValueError, match="one or more, by digests of 16 bytes"):
        write_segment(tmp_path, script.KEY, {b"short": script.vector(b"short")})
    with pytest.raises(ValueError, match="must have 768 bytes each"):
        write_segment(tmp_path, script.KEY, {script.digest(0): np.zeros(191)})
    monkeypatch.setattr(_segment_format, "_MAX_BYTES", 768 * 2)
    with pytest.raises(ValueError, match=r"of 1536 bytes at most\. Got 3 of 2304 bytes instead\. Write"):
        write_segment(tmp_path, script.KEY, vectors)
    monkeypatch.setattr(_segment_format, "_MAX_ROWS", 1)
    with pytest.raises(ValueError, match=r"must be 1 at most, .*Got 2 of"):
        write_segment(tmp_path, script.KEY, dict(list(vectors.items())[:2]))
    assert list(tmp_path.rglob("*")) == []


def test_without_pyarrow_the_message_says_what_brings_it(tmp_path, script, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    for call in (
        lambda: write_segment(tmp_path, script.KEY, script.vectors(script.digests(3))),
        lambda: SegmentFolder(tmp_path),
    ):
        with pytest.raises(ImportError, match=r"egments needs pyarrow, .*pip install 'sktl\[segments\]'"):
            call()


# files come and go


@pytest.mark.usefixtures("at_once")
def test_new_files_are_found_and_removed_ones_forgotten(place, script):
    write_segment(place, script.KEY, script.vectors(script.digests(10)))
    segments = SegmentFolder(place)
    for number in range(1, 12):
        check(segments.read(script.KEY, script.digests(500)), script, script.digests(10 * number))
        write_segment(place, script.KEY, script.vectors(script.digests(10 * number, 10 * number + 10)))
    (of_key,) = segments._by_key.values()
    assert len(of_key._indices) < 6  # they are merged
    system = segments.place
    if not system.is_remote:
        for file in files_in(system.url)[::2]:
            file.unlink()
        left = sum(parquet.read_metadata(file).num_rows for file in files_in(system.url))
        assert len(segments.read(script.KEY, script.digests(500))) == left < 120


def test_a_folder_is_not_listed_at_each_look_up(tmp_path, script, monkeypatch):
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(10)))
    segments = SegmentFolder(tmp_path)
    listings = []
    sizes = segments.place.sizes
    monkeypatch.setattr(segments.place, "sizes", lambda *arguments: listings.append(1) or sizes(*arguments))
    for _ in range(50):
        segments.read(script.KEY, script.digests(10))
    assert len(listings) == 1
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(10, 20)))
    segments.look_again()
    check(segments.read(script.KEY, script.digests(30)), script, script.digests(20))


@pytest.mark.filterwarnings("ignore:the folder of segments")
@pytest.mark.parametrize("first_is", ["damaged", "other"])
def test_a_file_that_vanishes_is_not_asked_for_further_vectors(first_is, tmp_path, script):
    """It would be the next to ask where the first is damaged, and to compare with where both are sound."""
    digests = script.digests(12)
    in_both, in_second = digests[0], digests[1]
    of_second = {in_both: script.vector(in_both) + 1, in_second: script.vector(in_second)}
    second = write_segment(tmp_path, script.KEY, of_second)
    for other in digests[2:]:  # until there is one whose name comes first
        vectors = script.vectors([in_both, other])
        name, _ = _segment_format.encode(script.KEY, vectors)
        if name < second:
            break
    assert write_segment(tmp_path, script.KEY, vectors) == name < second
    folder = tmp_path / script.KEY.digest.hex()[:16]
    if first_is == "damaged":
        damaged = bytearray((folder / name).read_bytes())
        damaged[damaged.index(vectors[in_both].tobytes()) + 5] ^= 1
        (folder / name).write_bytes(damaged)
    segments = SegmentFolder(tmp_path)
    check(segments.read(script.KEY, [other]), script, [other])
    (folder / second).unlink()
    left = [other] if first_is == "damaged" else [in_both, other]
    check(segments.read(script.KEY, [in_both, in_second, other]), script, left)


def test_files_that_vanish_between_listing_and_reading_are_missing_in_silence(tmp_path, script):
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(10)))
    segments = SegmentFolder(tmp_path)
    segments.read(script.KEY, script.digests(10))
    for file in files_in(tmp_path):
        file.unlink()
    assert segments.read(script.KEY, script.digests(10)) == {}


def test_a_folder_that_is_not_there_is_said_once(tmp_path, script):
    segments = SegmentFolder(tmp_path / "none")
    with one_warning(r"the folder of segments .*none' is not there\. Results are not"):
        for _ in range(3):
            assert segments.read(script.KEY, script.digests(3)) == {}
    write_segment(tmp_path / "none", script.KEY, script.vectors(script.digests(3)))
    segments.look_again()
    check(segments.read(script.KEY, script.digests(5)), script, script.digests(3))


@pytest.mark.usefixtures("at_once")
def test_a_file_that_is_still_being_copied_counts_once_it_is_whole(tmp_path, script):
    write_segment(tmp_path / "from", script.KEY, script.vectors(script.digests(10)))
    write_segment(tmp_path / "to", script.KEY, script.vectors(script.digests(20, 30)))
    (source,) = files_in(tmp_path / "from")
    content = source.read_bytes()
    target = tmp_path / "to" / source.parent.name / source.name
    segments = SegmentFolder(tmp_path / "to")
    with one_warning("has files that are skipped, such as"):
        for share in (0, 0.3, 0.8, 0.9999):
            target.write_bytes(content[: int(share * len(content))])
            check(segments.read(script.KEY, script.digests(30)), script, script.digests(20, 30))
    target.write_bytes(content)
    check(segments.read(script.KEY, script.digests(30)), script, [*script.digests(10), *script.digests(20, 30)])


# files that hold something else


def rewritten(change, encoded=False):
    """Write the file anew by pyarrow, with other content or another layout."""

    def write(path):
        table = parquet.read_table(path)
        about = json.loads(table.schema.metadata[b"sktl"])
        options = {"compression": "none", "use_dictionary": False}
        changed = change(table, about, options)
        table = table if changed is None else changed
        if table.schema.metadata and not encoded:
            table = table.replace_schema_metadata({b"sktl": json.dumps(about)})
        parquet.write_table(table, path, **options)

    return write


def content(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def replaced_by(make):
    def replace(path):
        path.unlink()
        make(path)

    return replace


BAD = {
    "empty": content(lambda data: b""),
    "zeros": content(lambda data: bytes(len(data))),
    "a magic number": content(lambda data: b"PAR1"),
    "the end alone": content(lambda data: data[-100:]),
    "a longer file": content(lambda data: data + b"\0"),
    "the beginning is missing": content(lambda data: data[1000:]),
    "a footer that is too long": content(lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"),
    "a text": content(lambda data: b"image,vector\n" * 1000),
    "no metadata": rewritten(lambda table, *_: table.replace_schema_metadata(None)),
    "another version": rewritten(lambda table, about, _: about.update(format=2)),
    "another key": rewritten(lambda table, about, _: about.update(key="00ff")),
    "no key": rewritten(lambda table, about, _: about.update(key=None)),
    "a key that is no number": rewritten(lambda table, about, _: about.update(key="../../etc")),
    "another width": rewritten(lambda table, about, _: about.update(width=191)),
    "a huge width": rewritten(lambda table, about, _: about.update(width=10**30)),
    "a width of nothing": rewritten(lambda table, about, _: about.update(width=0)),
    "no description": rewritten(lambda table, about, _: about.pop("description") and None),
    "compressed": rewritten(lambda table, _, options: options.update(compression="snappy")),
    "a dictionary": rewritten(lambda table, _, options: options.update(use_dictionary=True)),
    "two groups of rows": rewritten(lambda table, _, options: options.update(row_group_size=30)),
    "a column less": rewritten(lambda table, *_: table.drop_columns("checksum")),
    "a column more": rewritten(lambda table, *_: table.append_column("n", pyarrow.array(range(len(table))))),
    "columns in another order": rewritten(lambda table, *_: table.select(["image", "checksum", "vector"])),
    "no rows": rewritten(lambda table, *_: table.slice(0, 0)),
    "no version": rewritten(lambda table, about, _: about.update(format=None)),
    "metadata of great depth": rewritten(
        lambda table, *_: table.replace_schema_metadata({b"sktl": b"[" * 10**5}), encoded=True
    ),
    "metadata that is no text": rewritten(
        lambda table, *_: table.replace_schema_metadata({b"sktl": b"\xff\xfe"}), encoded=True
    ),
    "metadata of another kind": rewritten(
        lambda table, *_: table.replace_schema_metadata({b"sktl": b"3"}), encoded=True
    ),
    "a folder": replaced_by(lambda path: path.mkdir()),
    "a link to nowhere": replaced_by(lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced_by(lambda path: path.symlink_to(path)),
    "a pipe": replaced_by(lambda path: os.mkfifo(path)),
}
SILENT = {"a folder", "a link to nowhere", "a link to itself", "a pipe"}  # no files at all


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_segment_of_the_key_is_skipped_with_one_warning(kind, tmp_path, script):
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(50)))
    (file,) = files_in(tmp_path)
    BAD[kind](file)
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(50, 60)))
    segments = SegmentFolder(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            segments.look_again()
            check(segments.read(script.KEY, script.digests(60)), script, script.digests(50, 60))
    said = [str(one.message) for one in caught]
    assert len(said) == (kind not in SILENT), said
    assert all(re.search(f"has files that are skipped, such as {file.name} \\(it", one) for one in said)


def test_other_files_in_the_folder_are_no_concern(tmp_path, script):
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(5)))
    (file,) = files_in(tmp_path)
    for name in (".sktl-12345678-1-0123456789abcdef.parquet", "notes.txt", "part-0.parquet", f"{file.stem}.PARQUET"):
        (file.parent / name).write_bytes(b"something")
    (tmp_path / "another folder").mkdir()
    check(SegmentFolder(tmp_path).read(script.KEY, script.digests(9)), script, script.digests(5))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_makes_a_wrong_vector(data, tmp_path_factory, script):
    """Bytes anywhere are overwritten, lost or doubled."""
    folder = tmp_path_factory.mktemp("damaged")
    narrow = script.KEY._replace(n_bytes=12)
    vectors = {digest: script.vector(digest)[:3] for digest in script.digests(40)}
    write_segment(folder, narrow, vectors)
    (file,) = files_in(folder)
    damaged = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(damaged)))
        n_bytes = data.draw(st.integers(0, 40))
        damaged[start : start + n_bytes] = data.draw(st.binary(min_size=0, max_size=40))
    file.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = SegmentFolder(folder).read(narrow, script.digests(50))
    assert all((vector == vectors[digest]).all() for digest, vector in found.items())
    shutil.rmtree(folder)


def test_a_damaged_vector_is_missing_or_comes_from_another_segment(tmp_path, script):
    digests = script.digests(10)
    write_segment(tmp_path, script.KEY, script.vectors(digests))
    (file,) = files_in(tmp_path)
    damaged = bytearray(file.read_bytes())
    where = [damaged.index(script.vector(digest).tobytes()) for digest in digests]
    for place in where[:2]:
        damaged[place + 5] ^= 1
    file.write_bytes(damaged)
    with one_warning("holds damaged vectors, which are skipped, the first in"):
        check(SegmentFolder(tmp_path).read(script.KEY, digests), script, digests[2:])
    write_segment(tmp_path, script.KEY, script.vectors(digests[:1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(SegmentFolder(tmp_path).read(script.KEY, digests), script, [digests[0], *digests[2:]])


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_of_two_vectors_of_one_image_the_one_in_the_first_name_counts(first, later, tmp_path, script):
    """Whichever was written, or found, first."""
    digests = script.digests(20)
    rows = [script.vectors(digests), {digest: script.vector(digest) + 1 for digest in digests[:5]}]
    names = {write_segment(tmp_path / str(i), script.KEY, rows[i]): rows[i] for i in (0, 1)}
    expected = {**rows[0], **names[min(names)]} if names[min(names)] is rows[1] else rows[0]
    segments = SegmentFolder(tmp_path / "both")
    write_segment(tmp_path / "both", script.KEY, rows[first])
    if later:
        segments.read(script.KEY, digests)
    write_segment(tmp_path / "both", script.KEY, rows[1 - first])
    with one_warning("different vectors of the same image, of which the one counts whose"):
        for _ in range(2):
            found = segments.read(script.KEY, digests)
            assert all((found[digest] == expected[digest]).all() for digest in digests)


def test_nothing_is_written_by_looking_up(tmp_path, script):
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(20)))
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [tmp_path, *tmp_path.rglob("*")]}
    check(SegmentFolder(tmp_path).read(script.KEY, script.digests(30)), script, script.digests(20))
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [tmp_path, *tmp_path.rglob("*")]} == before


@pytest.mark.parametrize("n_wanted", [1, 20])
def test_a_remote_segment_is_read_in_part(n_wanted, tmp_path, script, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    url, n_fetched, n_requests = f"memory://{tmp_path.name}-{n_wanted}", [], []
    write_segment(url, script.KEY, script.vectors(script.digests(10_000)))
    system = fsspec.filesystem("memory")
    fetch = system.cat_ranges

    def counted(paths, starts, stops, **options):
        n_requests.append(len(paths))
        n_fetched.append(sum(stops) - sum(starts))
        return fetch(paths, starts, stops, **options)

    monkeypatch.setattr(system, "cat_ranges", counted)
    check(SegmentFolder(url).read(script.KEY, script.digests(n_wanted)), script, script.digests(n_wanted))
    assert sum(n_fetched) < 400_000 + n_wanted * 100_000  # of 8 MB
    assert sum(n_requests) <= 2 + n_wanted


def test_errors_of_a_remote_system_are_one_warning(tmp_path, script, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")

    def fail(*arguments, **options):
        raise RuntimeError("the server is on holiday")

    url = f"memory://{tmp_path.name}-fails"
    write_segment(url, script.KEY, script.vectors(script.digests(10)))
    segments = SegmentFolder(url)
    monkeypatch.setattr(system, "ls", fail)
    with one_warning(r"cannot be used \(the server is on holiday\)"):
        for _ in range(3):
            assert segments.read(script.KEY, script.digests(10)) == {}


def test_what_a_url_needs_is_said_at_once():
    pytest.importorskip("fsspec")
    with pytest.raises(ValueError, match="Protocol not known: nonsense"):
        SegmentFolder("nonsense://a/b")
