"""A Hugging Face Hub of this machine: a few repositories in memory, which fail as they are told to."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves files of repositories at their one commit; a context manager."""

    def __init__(self, repositories):
        self.repositories = repositories  # {"owner/name": {"file": bytes}}
        self.gated = set()
        self.cut_after = {}  # {"file": number of bytes after which the next answer breaks off}
        self.served = {}  # {"file": other bytes than those whose hash is told}
        self.requests = []  # (method, path, range)

    def __enter__(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub.answer(self, with_content=False)

            def do_GET(self):
                hub.answer(self, with_content=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request, with_content):
        self.requests.append((request.command, request.path, request.headers.get("Range")))
        parts = unquote(request.path.split("?")[0]).strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self._refuse(request, 404, "RepoNotFound")
        name, revision, file = "/".join(parts[:2]), "/".join(parts[3:-1]), parts[-1]
        if name not in self.repositories:
            return self._refuse(request, 404, "RepoNotFound")
        if name in self.gated:
            return self._refuse(request, 403, "GatedRepo")
        if revision not in ("main", COMMIT, "v1"):
            return self._refuse(request, 404, "RevisionNotFound")
        if file not in self.repositories[name]:
            return self._refuse(request, 404, "EntryNotFound")
        return self._send(request, file, self.repositories[name][file], with_content)

    def _refuse(self, request, status, code):
        request.send_response(status)
        request.send_header("X-Error-Code", code)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _send(self, request, file, content, with_content):
        etag = hashlib.sha256(content).hexdigest()
        start = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = self.served.get(file, content)[start:]
        request.send_response(206 if start else 200)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{etag}"')
        request.send_header("X-Linked-Etag", f'"{etag}"')
        request.send_header("X-Linked-Size", str(len(content)))
        request.send_header("Accept-Ranges", "bytes")
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if not with_content:
            return
        limit = self.cut_after.pop(file, None)
        request.wfile.write(body if limit is None else body[:limit])
        if limit is not None:
            request.close_connection = True
