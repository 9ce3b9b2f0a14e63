"""Images behind URLs: fetched once, in order, and named where they cannot be had."""

import io
import os
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from sktl import PretrainedFeatureExtractor
from sktl.exceptions import ImageReadError
from sktl.images import _remote, as_images, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 9, 8, 3), dtype=np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _nothing_kept():
    _remote._kept.clear()
    _remote.DIGESTS.clear()


@pytest.fixture
def bucket(tmp_path):
    """URLs in memory, and the file system that they are in."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for i, pixels in enumerate(PIXELS):
        system.pipe(f"/{tmp_path.name}/{i}.png", png(pixels))
    return [f"memory://{tmp_path.name}/{i}.png" for i in range(len(PIXELS))], system


@pytest.fixture
def server():
    """The address of a server on this machine, and the paths that it was asked for."""
    pytest.importorskip("aiohttp")
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.strip("/").removesuffix(".png")
            found = name.isdigit() and int(name) < len(PIXELS)
            content = png(PIXELS[int(name)]) if found else b"<html>no</html>"
            self.send_response(200 if found else 403 if name == "secret" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def test_urls_keep_their_order_and_are_read_in_every_form_of_x(bucket):
    urls, _ = bucket
    for X in (
        urls,
        tuple(urls),
        np.array(urls),
        np.array(urls, dtype=object)[:, None],
        [{"path": url} for url in urls],
    ):
        images = as_images(X)
        np.testing.assert_array_equal([images[i] for i in (4, 0, 2, 2)], PIXELS[[4, 0, 2, 2]])
    np.testing.assert_array_equal(read_image(urls[3]), PIXELS[3])


@pytest.mark.parametrize("chain", ["simplecache::{}", "filecache::{}", "{}"])
def test_chains_of_fsspec_are_urls(bucket, chain):
    urls, _ = bucket
    np.testing.assert_array_equal(as_images([chain.format(url) for url in urls])[1], PIXELS[1])


def test_a_server_is_asked_for_each_image_once(server):
    address, asked = server
    urls = [f"{address}/{i}.png" for i in (3, 1, 4, 0, 2)]
    extractor = PretrainedFeatureExtractor(image_size=32)
    expected = extractor.fit_transform([png(pixels) for pixels in PIXELS[[3, 1, 4, 0, 2]]])
    np.testing.assert_array_equal(extractor.fit_transform(urls), expected)
    np.testing.assert_array_equal(extractor.transform(urls[::-1]), expected[::-1])
    assert sorted(asked) == [f"/{i}.png" for i in range(5)]


def test_what_is_kept_stays_within_a_bound_and_what_was_identified_is_not_fetched_again(bucket, monkeypatch):
    urls, system = bucket
    sizes = [len(png(pixels)) for pixels in PIXELS]
    monkeypatch.setattr(_remote, "_MAX_BYTES", sizes[3] + sizes[4])
    images = as_images(urls)
    digests = [images.digest(i) for i in range(5)]
    assert digests == [as_images([png(pixels)]).digest(0) for pixels in PIXELS]
    assert list(_remote._kept) == urls[3:]
    system.rm(urls[0].removeprefix("memory:/"))
    assert as_images(urls).open(0).digest() == digests[0]
    with pytest.raises(ImageReadError, match="nothing is found behind the URL"):
        images[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda address: f"{address}/missing.png", "nothing is found behind the URL"),
        (lambda address: f"{address}/secret", "cannot be read, fsspec says: 403"),
        (lambda address: "http://127.0.0.1:1/a.png", "cannot be read, fsspec says: .*Connect"),
        (lambda address: "nonsense://a/b.png", "cannot be read, fsspec says: Protocol not known: nonsense"),
        (lambda address: "memory://not/there.png", "nothing is found behind the URL"),
    ],
)
def test_what_cannot_be_fetched_is_the_error_of_one_image(server, make, message):
    address, _ = server
    url = make(address)
    with pytest.raises(ImageReadError, match=message) as caught:
        as_images([f"{address}/0.png", url])[1]
    assert (caught.value.index, caught.value.path) == (1, url)


def test_what_is_no_image_behind_a_url_is_named(bucket):
    _, system = bucket
    system.pipe("/odd/page.html", b"<html>")
    with pytest.raises(ImageReadError, match=r"memory://odd/page\.html.*must be an image in a format"):
        read_image("memory://odd/page.html")


def endless(start):
    """Make a body that goes on with zeros until nobody listens."""

    def write(handler):
        sent = 0
        try:
            handler.wfile.write(start)
            while sent < 1 << 31:
                sent += handler.wfile.write(bytes(1 << 20))
        except OSError:
            pass
        handler.server.sent.put(sent)

    return write


@pytest.fixture
def serve():
    """Serve one body with these headers, and return its URL and the server."""
    pytest.importorskip("aiohttp")
    running = []

    def start(write, **headers):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                write(self)

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.sent = queue.Queue()
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/a.png", server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


LIMIT = 8 + 2**26


@pytest.mark.parametrize(
    ("start", "headers", "message", "most"),
    [
        (b"", {}, "must be an image in a format that Pillow reads", 16 << 20),
        (png(PIXELS[0]), {}, rf"at most {LIMIT} bytes.* Got at least \d+ bytes instead.*MAX_IMAGE_PIXELS", 2 * LIMIT),
        (png(PIXELS[0]), {"Content_Length": "100000000000"}, "Got 100000000000 bytes instead", 16 << 20),
    ],
    ids=["no-picture", "no-length", "honest"],
)
def test_a_server_that_never_stops_is_hung_up_on(serve, monkeypatch, start, headers, message, most):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    url, server = serve(endless(start), **headers)
    with pytest.raises(ImageReadError, match=message):
        read_image(url)
    assert server.sent.get(timeout=10) < most


@pytest.mark.parametrize(
    ("write", "length"),
    [(lambda handler: handler.wfile.write(png(PIXELS[0])), "1000"), (endless(png(PIXELS[0])), "60")],
    ids=["more than comes", "less than comes"],
)
def test_a_length_that_is_not_true_is_an_error_of_the_image(serve, write, length):
    url, _ = serve(write, Content_Length=length)
    with pytest.raises(ImageReadError, match=r"damaged or cut off|the URL cannot be read"):
        read_image(url)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_picture_that_comes_in_pieces_without_a_length_is_read(serve, step):
    def write(handler):
        content = png(PIXELS[0])
        for i in range(0, len(content), step):
            handler.wfile.write(content[i : i + step])
            handler.wfile.flush()

    url, _ = serve(write)
    np.testing.assert_array_equal(read_image(url), PIXELS[0])


def test_an_object_that_is_too_large_is_not_fetched(bucket, monkeypatch):
    urls, system = bucket
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    monkeypatch.setattr(type(system), "size", lambda self, path: LIMIT + 1)
    monkeypatch.setattr(type(system), "cat_file", None)
    with pytest.raises(ImageReadError, match=f"at most {LIMIT} bytes.* Got {LIMIT + 1} bytes instead"):
        read_image(urls[0])


@pytest.mark.parametrize("says_size", [True, False])
def test_a_system_that_does_not_tell_sizes_is_read_with_the_same_bound(bucket, monkeypatch, says_size):
    urls, system = bucket
    if not says_size:
        monkeypatch.setattr(type(system), "size", lambda self, path: None)
        monkeypatch.setattr(type(system), "cat_file", None)
    np.testing.assert_array_equal(read_image(urls[0]), PIXELS[0])
    system.pipe("/odd/empty.png", b"")
    with pytest.raises(ImageReadError, match="must have content"):
        read_image("memory://odd/empty.png")


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, bucket):
    urls, _ = bucket
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ImportError, match=r"'s3://b/c\.png' needs a package .*s3fs.*pip install 'sktl\[remote\]'"):
        read_image("s3://b/c.png")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"needs fsspec, which is not installed.*pip install 'sktl\[remote\]'"):
        read_image(urls[0])


@pytest.mark.parametrize("path", ["C:/a.png", "a::b.png", "a:b.png", "http:a.png", "://a.png"])
def test_a_path_with_colons_is_a_path(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageReadError, match="the file does not exist"):
        read_image(path)
    if os.name == "posix":
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(png(PIXELS[0]))
        np.testing.assert_array_equal(read_image(path), PIXELS[0])


def test_the_content_of_a_url_is_another_image_in_another_range(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    wide = np.random.default_rng(0).integers(0, 4096, (20, 20)).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/wide.png", buffer.getvalue())
    urls = [f"memory://{tmp_path.name}/wide.png"]
    for limits in ((0, 4095), (0, 65535)):
        found = PretrainedFeatureExtractor(value_range=limits).fit_transform(urls)
        np.testing.assert_array_equal(found, PretrainedFeatureExtractor(value_range=limits).fit_transform([wide]))
