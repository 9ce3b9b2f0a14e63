"""Images behind a URL, fetched by fsspec: s3://, gs://, http:// and whatever else it speaks."""

from collections import OrderedDict
from threading import Lock

from sktl._forking import free_after_fork
from sktl._optional import import_optional
from sktl._text import shortened
from sktl.exceptions import ImageReadError
from sktl.images._pillow import SIGNATURE_LENGTH, check_file_size, check_signature

_CHUNK = 1 << 20
_ONE_REQUEST = {"block_size": 0, "size": 1}  # a stream; with some size given, the server is not asked for it beforehand
_MAX_BYTES = 256 << 20
_kept: OrderedDict = OrderedDict()  # URL → content; folds, searches and epochs come back to each of them
_lock = free_after_fork(Lock())
DIGESTS: dict = {}  # URL → what identifies its content, so that what the store has is not fetched again


def fetched(url):
    """Return the content behind a URL; within a process each is fetched once, as far as there is room to keep it."""
    with _lock:
        if url in _kept:
            _kept.move_to_end(url)
            return _kept[url]
    content = _fetch(url)
    with _lock:
        _kept[url] = content
        while sum(map(len, _kept.values())) > _MAX_BYTES:
            _kept.popitem(last=False)
    return content


def _fetch(url):
    fsspec = import_optional("fsspec", extra="remote", caller=f"Reading {shortened(url, 80)!r}")
    try:
        system, path = fsspec.core.url_to_fs(url)
        is_http = "http" in system.protocol
        n_bytes = None if is_http else system.size(path)
        if n_bytes is not None:
            check_file_size(n_bytes)
            return system.cat_file(path)
        with system.open(path, "rb", **(_ONE_REQUEST if is_http else {})) as stream:
            return _watched(stream)
    except ImageReadError:
        raise
    except ImportError as error:
        raise ImportError(
            f"Reading {shortened(url, 80)!r} needs a package that is not installed, fsspec says: {error}. "
            "http comes with: pip install 'sktl[remote]'; s3 with s3fs, gs with gcsfs."
        ) from error
    except FileNotFoundError:
        raise ImageReadError("nothing is found behind the URL. Check the spelling.") from None
    except Exception as error:  # every protocol has its own
        said = shortened(error, 200) or type(error).__name__
        raise ImageReadError(f"the URL cannot be read, fsspec says: {said}") from error


def _watched(stream):
    """Read a stream to its end, which may never come: no further than shows that it is no picture or too large a one.

    A length that a server states is taken as a reason to refuse, and is not relied on.
    """
    headers = getattr(getattr(stream, "r", None), "headers", {})
    check_file_size(int(headers.get("Content-Length", 0)))
    data = bytearray()
    while part := stream.read(_CHUNK):
        is_first = len(data) < SIGNATURE_LENGTH
        data += part
        if is_first and len(data) >= SIGNATURE_LENGTH:
            check_signature(bytes(data[:SIGNATURE_LENGTH]))
        check_file_size(len(data), is_all=False)
    return bytes(data)
