"""The tables of the embedding store: one SQLite file that many processes read and write.

Nothing here decides what to do about a fault: errors of SQLite are raised as they come. A row carries a checksum over
what it is the vector of, so that a damaged file can lose a vector, and cannot return a wrong one.
"""

import os
import sqlite3
import time
from hashlib import sha256
from typing import NamedTuple, Protocol, runtime_checkable
from weakref import finalize

__all__ = ["Database", "Key", "StoredKey", "checksum_of", "is_of_this_format", "number_in"]

# Rows of 2 to 8 KiB fill pages of this size; commits stay small.
_PAGE_SIZE = 16384
_MAX_WAIT = 10.0  # seconds until another process has finished its transaction, each of which takes milliseconds
# Pages after which the log is written back, and bytes that it may keep afterwards: it comes on top of the limit.
_LOG_PAGES, _LOG_SIZE = 256, 4 * 2**20
# Seconds by which the time of last use may be wrong: what is read more often is not written again each time.
_USED_RESOLUTION = 60
_IMAGES_PER_QUERY = 500
# Space that was evicted is used again, so the file is only made shorter when the limit was lowered.
_EVICT_DOWN_TO, _SHRINK_ABOVE = 0.95, 1.1

# A cache key is a `recipe` in the tables, and a lease an `owner`: other names would be another format of the file.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS recipes (
    id INTEGER PRIMARY KEY, digest BLOB UNIQUE NOT NULL, description TEXT NOT NULL,
    n_computed INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS vectors (
    id INTEGER PRIMARY KEY, recipe INTEGER NOT NULL, image BLOB NOT NULL, used INTEGER NOT NULL,
    checksum BLOB NOT NULL, vector BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS vectors_by_key ON vectors (recipe, image);
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
CREATE TABLE IF NOT EXISTS claims (
    recipe INTEGER NOT NULL, image BLOB NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (recipe, image)
) WITHOUT ROWID;
"""

_HOW = {"new": "mode=rwc", "existing": "mode=rw", "frozen": "immutable=1"}


@runtime_checkable
class Key(Protocol):
    """What the store needs of a cache key, which stands for everything that a vector depends on besides the image."""

    @property
    def digest(self) -> bytes:
        """Identifies the key."""

    @property
    def description(self) -> str:
        """Names the key for people."""

    @property
    def n_bytes(self) -> int:
        """Size of each vector."""


class StoredKey(NamedTuple):
    """A key as it is read from a file, which nothing can be computed with."""

    digest: bytes
    description: str
    n_bytes: int


class Database:
    """One file of vectors."""

    def __init__(self, path, how="new", number=1):
        self._path = path
        self._number = number
        self._key_ids = {}
        name = f"{path.as_uri()}?{_HOW[how]}"
        # Autocommit: transactions are begun where they are needed. Whoever calls takes care that threads take turns.
        self._connection = sqlite3.connect(
            name, timeout=_MAX_WAIT, isolation_level=None, check_same_thread=False, uri=True
        )
        # Python 3.13 warns of one that is collected open. A forked process must not close its parent's when it ends.
        finalize(self, self._connection.close).atexit = False
        try:
            if how != "frozen":
                self._prepare()
        except BaseException:
            self._connection.close()
            raise
        self._files = self._identify()

    def close(self):
        """Close the file."""
        self._connection.close()

    def is_in_place(self):
        """Whether its files are still those that were opened: they may have been deleted, and made anew by another."""
        return self._identify() == self._files

    def read(self, key, digests):
        """Return the stored vectors among those asked for; changes nothing."""
        found, outdated, damaged = {}, [], []
        key_id, now = self._id(key), time.time()
        for part in _parts(digests if key_id is not None else ()):
            rows = self._connection.execute(
                f"SELECT id, image, used, checksum, vector FROM vectors WHERE recipe = ? AND image IN ({_marks(part)})",
                (key_id, *part),
            )
            wanted = set(part)
            for row, digest, used, checksum, vector in rows:
                if digest not in wanted:
                    raise sqlite3.DatabaseError("the index leads to another image")
                if not _is_sound(key, digest, checksum, vector):
                    damaged.append(row)
                    continue
                found[digest] = vector
                if not isinstance(used, int) or abs(now - used) > _USED_RESOLUTION:
                    outdated.append(row)
        return found, outdated, damaged

    def stored(self, key, digests):
        """Return the set of those digests of which there are vectors."""
        key_id, found = self._id(key), set()
        for part in _parts(digests if key_id is not None else ()):
            query = f"SELECT image FROM vectors WHERE recipe = ? AND image IN ({_marks(part)})"
            found.update(digest for (digest,) in self._connection.execute(query, (key_id, *part)))
        return found

    def keys(self):
        """Return (digest, description, bytes of a vector) of each key of which there are vectors."""
        rows = self._connection.execute(
            "SELECT digest, coalesce(CAST(description AS TEXT), ''), length(vector), count(*) FROM recipes "
            "JOIN vectors ON recipe = recipes.id GROUP BY recipes.id, length(vector) ORDER BY recipes.id, count(*)"
        )
        # Of several sizes the usual one is right: others are damaged.
        return list({digest: (digest, *about) for digest, *about, _ in rows if isinstance(digest, bytes)}.values())

    def digests(self, key, after, n_most):
        """Return the digests of images that follow another one, in their order."""
        query = "SELECT image FROM vectors WHERE recipe = ? AND image > ? ORDER BY image LIMIT ?"
        return [digest for (digest,) in self._connection.execute(query, (self._id(key), after, n_most))]

    def tidy(self, outdated, damaged):
        """Note down that rows were used just now, and delete others."""
        now = int(time.time())
        with self._transaction():
            self._connection.executemany("UPDATE vectors SET used = ? WHERE id = ?", [(now, row) for row in outdated])
            self._connection.executemany("DELETE FROM vectors WHERE id = ?", [(row,) for row in damaged])

    def claim(self, key, digests, lease, is_alive):
        """Take on the computation of images, except those stored by now and those that another one has taken on."""
        key_id, mine = self._id(key, new=True), set()
        with self._transaction():
            for part in _parts(digests):
                where = f"WHERE recipe = ? AND image IN ({_marks(part)})"
                arguments = (key_id, *part)
                done = self.stored(key, part)
                claims = self._connection.execute(f"SELECT image, owner FROM claims {where}", arguments).fetchall()
                dead = {other for other in {other for _, other in claims} if other != lease and not is_alive(other)}
                self._connection.executemany("DELETE FROM claims WHERE owner = ?", [(other,) for other in dead])
                done |= {digest for digest, other in claims if other != lease and other not in dead}
                mine.update(set(part) - done)
            self._connection.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", [(key_id, digest, lease) for digest in mine]
            )
        return mine

    def write(self, key, vectors, lease, seconds):
        """Store vectors, and give back the claims to them."""
        key_id, now = self._id(key, new=True), int(time.time())
        rows = [(key_id, digest, now, checksum_of(key, digest, vector), vector) for digest, vector in vectors.items()]
        with self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO vectors (recipe, image, used, checksum, vector) VALUES (?, ?, ?, ?, ?)", rows
            )
            self._connection.execute(
                "UPDATE recipes SET n_computed = n_computed + ?, seconds = seconds + ? WHERE id = ?",
                (len(rows), seconds, key_id),
            )
            self._drop_claims(key_id, vectors, lease)

    def release(self, key, digests, lease):
        """Give back claims without a result."""
        with self._transaction():
            self._drop_claims(self._id(key, new=True), digests, lease)

    def seconds_per_image(self, key):
        """Return how long an image took to compute on average."""
        query = "SELECT CAST(seconds AS REAL) / max(CAST(n_computed AS INTEGER), 1) FROM recipes WHERE id = ?"
        row = self._connection.execute(query, (self._id(key),)).fetchone()
        return (row and row[0]) or 0.0

    def n_bytes(self):
        """Return how many bytes of the file are in use."""
        pages, free = self._pragma("page_count"), self._pragma("freelist_count")
        return (pages - free) * self._pragma("page_size")

    def evict(self, max_bytes):
        """Delete the vectors that have not been used for longest, if the file has grown beyond a number of bytes."""
        size = self.n_bytes()
        if size <= max_bytes:
            return
        n_vectors = self._connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
        share = 1 - _EVICT_DOWN_TO * max_bytes / size
        with self._transaction():
            self._connection.execute(
                "DELETE FROM vectors WHERE id IN (SELECT id FROM vectors ORDER BY used, id LIMIT ?)",
                (int(n_vectors * share) + 1,),
            )
        if self._pragma("page_count") * self._pragma("page_size") > _SHRINK_ABOVE * max_bytes:
            self._shrink()

    def clear(self):
        """Delete all vectors and give their space back."""
        with self._transaction():
            for table in ("vectors", "claims"):
                self._connection.execute(f"DELETE FROM {table}")
            self._connection.execute("UPDATE recipes SET n_computed = 0, seconds = 0")
        self._shrink()

    def contents(self):
        """Return one row per key: description, vectors stored, bytes of these, images computed, seconds spent."""
        return self._connection.execute(
            "SELECT coalesce(CAST(description AS TEXT), ''), count(vectors.id), coalesce(sum(length(vector)), 0), "
            "coalesce(CAST(n_computed AS INTEGER), 0), coalesce(CAST(seconds AS REAL), 0) "
            "FROM recipes LEFT JOIN vectors ON recipe = recipes.id GROUP BY recipes.id ORDER BY recipes.id"
        ).fetchall()

    def _prepare(self):
        # Written down in a new file only: in another one they change nothing, and wait for those that write.
        layout = (f"page_size = {_PAGE_SIZE}", "auto_vacuum = INCREMENTAL", f"user_version = {self._number}")
        layout = layout if self._pragma("page_count") == 0 else ()
        for pragma in (*layout, "journal_mode = WAL"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        # A power cut may lose the last commits, and leaves the file in order: good enough for what can be recomputed.
        log = (f"wal_autocheckpoint = {_LOG_PAGES}", f"journal_size_limit = {_LOG_SIZE}")
        for pragma in ("synchronous = NORMAL", "cache_size = -32000", *log):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if ("claims",) not in tables:  # the last one; asked for, since making them waits for those that write
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)

    def _pragma(self, name):
        return self._connection.execute(f"PRAGMA {name}").fetchone()[0]

    def _transaction(self):
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection  # as a context manager it commits, or rolls back when something was raised

    def _id(self, key, *, new=False):
        """Return the number of a key; None when it is unknown and no `new` one is wanted."""
        if key.digest not in self._key_ids:
            query = "SELECT id FROM recipes WHERE digest = ?"
            row = self._connection.execute(query, (key.digest,)).fetchone()
            if row is None and new:
                self._connection.execute(
                    "INSERT OR IGNORE INTO recipes (digest, description) VALUES (?, ?)",
                    (key.digest, key.description),
                )
                row = self._connection.execute(query, (key.digest,)).fetchone()
                if row is None:
                    raise sqlite3.DatabaseError("a key cannot be found again")
            if row is None:
                return None
            self._key_ids[key.digest] = row[0]
        return self._key_ids[key.digest]

    def _identify(self):
        return [_identity(f"{self._path}{suffix}") for suffix in ("", "-wal", "-shm")]

    def _drop_claims(self, key_id, digests, lease):
        self._connection.executemany(
            "DELETE FROM claims WHERE recipe = ? AND image = ? AND owner = ?",
            [(key_id, digest, lease) for digest in digests],
        )

    def _shrink(self):
        # As a script, since each step of this statement gives back one page, and sqlite3 otherwise makes one step.
        self._connection.executescript("PRAGMA incremental_vacuum")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def number_in(path):
    """Return the number that a file was made under, as its header holds it; 0 where there is none."""
    return int.from_bytes(_header(path)[60:], "big")


def is_of_this_format(path):
    """Whether SQLite writes to files of such a header: others it takes for those of a later SQLite, and only reads."""
    return max(_header(path)[18:20], default=0) <= 2


def _header(path):
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _parts(digests):
    digests = list(digests)
    return [digests[start : start + _IMAGES_PER_QUERY] for start in range(0, len(digests), _IMAGES_PER_QUERY)]


def _marks(part):
    return ",".join("?" * len(part))


def _identity(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_sound(key, digest, checksum, vector):
    # Damage may change the type of what is stored, too.
    return isinstance(vector, bytes) and len(vector) == key.n_bytes and checksum == checksum_of(key, digest, vector)


def checksum_of(key, digest, vector):
    """Return 8 bytes over a vector, its image and its key."""
    return sha256(key.digest + digest + vector).digest()[:8]
