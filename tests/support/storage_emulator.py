"""An emulator of Google Cloud Storage: ``storage_emulator.py COMMAND...`` runs a command with it.

The command finds the emulator's address in ``STORAGE_EMULATOR_HOST``. Its exit code is ours.

It has what GoogleCloudStorageCache asks of the JSON API: a bucket is made; an object is written,
read, looked at, listed and deleted, also many in a batch; ``ifGenerationMatch`` is heeded. As in
https://github.com/googleapis/storage-testbench, ``POST /retry_test`` takes the failures of a
method, and each request whose header ``x-retry-test-id`` has the answer's id gets the next of them.
The tests of the backend pass with that one, too; nothing else is promised.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["StorageEmulator"]

#: Paths, and the method of :class:`Storage` that answers, by verb.
ROUTES = [
    (re.compile(path), verbs)
    for path, verbs in {
        r"/storage/v1/b": {"POST": "make_bucket"},
        r"/upload/storage/v1/b/([^/]+)/o": {"POST": "insert"},
        r"/download/storage/v1/b/([^/]+)/o/([^/]+)": {"GET": "read"},
        r"/storage/v1/b/([^/]+)/o/([^/]+)": {"GET": "get", "DELETE": "delete"},
        r"/storage/v1/b/([^/]+)/o": {"GET": "list"},
        r"/batch/storage/v1": {"POST": "batch"},
        r"/retry_test": {"POST": "plan_failures"},
    }.items()
]
#: How many objects a page of a list has: few, so that lists have several pages.
PAGE = 50


class Failure(Exception):
    """Answer a request with this status."""

    def __init__(self, status: int) -> None:
        self.status = HTTPStatus(status)


class Request:
    """One request, also one of a batch."""

    def __init__(self, verb: str, target: str, headers: Any, body: bytes) -> None:
        self.verb, url = verb, urlsplit(target)
        self.path, self.headers, self.body = url.path, headers, body
        self.query = {name: words[0] for name, words in parse_qs(url.query).items()}

    def parts(self) -> list[tuple[bytes, bytes]]:
        """Head and body of each part of a multipart body."""
        found = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
        assert found is not None
        pieces = self.body.split(b"--" + found[1].encode())[1:-1]
        split = [piece.removeprefix(b"\r\n").removeprefix(b"\n") for piece in pieces]
        return [(m[1], m[2]) for m in (re.match(HEAD, piece, re.S) for piece in split) if m]


#: The head of a part, an empty line, and its body without the end of line before the next part.
HEAD = rb"(.*?)\r?\n\r?\n(.*?)(?:\r?\n)?\Z"


class Storage:
    """Buckets with their objects; each method answers one kind of request."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, tuple[dict[str, Any], bytes]]] = {}
        self.failures: dict[str, dict[str, list[str]]] = {}
        self.generations = itertools.count(1)
        #: Held while a request is answered: to compare a generation and to write are one step.
        self.lock = threading.Lock()

    def answer(self, request: Request) -> tuple[HTTPStatus, str, bytes]:
        """The status, the kind of the content, and the content."""
        for path, verbs in ROUTES:
            if (match := path.fullmatch(request.path)) and request.verb in verbs:
                name = verbs[request.verb]
                break
        else:
            return HTTPStatus.NOT_IMPLEMENTED, "text/plain", request.path.encode()
        try:
            self.fail_if_planned(request, name)
            content = getattr(self, name)(request, *[unquote(group) for group in match.groups()])
        except Failure as failure:
            error = {"code": failure.status, "message": failure.status.phrase}
            return failure.status, "application/json", json.dumps({"error": error}).encode()
        if isinstance(content, tuple):
            return HTTPStatus.OK, *content
        return HTTPStatus.OK, "application/json", json.dumps(content).encode()

    def fail_if_planned(self, request: Request, name: str) -> None:
        """Fail if this request was chosen to."""
        planned = self.failures.get(request.headers.get("x-retry-test-id", ""), {})
        if to_come := planned.get(f"storage.objects.{name}"):
            raise Failure(int(to_come.pop(0).removeprefix("return-")))

    def plan_failures(self, request: Request) -> Any:
        name = uuid.uuid4().hex
        self.failures[name] = json.loads(request.body)["instructions"]
        return {"id": name}

    def found(self, request: Request, bucket: str, name: str) -> tuple[dict[str, Any], bytes]:
        """An object, if it is there, and of the generation that is asked for."""
        self.compare(request, bucket, name)
        if name not in self.bucket(bucket):
            raise Failure(404)
        return self.bucket(bucket)[name]

    def compare(self, request: Request, bucket: str, name: str) -> None:
        """Fail if the object is of another generation than the one that is expected."""
        expected = request.query.get("ifGenerationMatch")
        meta, _ = self.bucket(bucket).get(name, ({"generation": "0"}, b""))
        if expected is not None and expected != meta["generation"]:
            raise Failure(412)

    def bucket(self, name: str) -> dict[str, tuple[dict[str, Any], bytes]]:
        if name not in self.buckets:
            raise Failure(404)
        return self.buckets[name]

    def make_bucket(self, request: Request) -> Any:
        name = json.loads(request.body)["name"]
        self.buckets.setdefault(name, {})
        return {"kind": "storage#bucket", "name": name}

    def insert(self, request: Request, bucket: str) -> Any:
        (_, described), (head, data) = request.parts()
        meta = json.loads(described)
        kind = re.search(rb"content-type: *([^\r\n]+)", head, re.I)
        assert kind is not None
        self.compare(request, bucket, meta["name"])
        meta |= {
            "bucket": bucket,
            "contentType": kind[1].decode(),
            "generation": str(next(self.generations)),
            "size": str(len(data)),
        }
        self.bucket(bucket)[meta["name"]] = meta, data
        return meta

    def get(self, request: Request, bucket: str, name: str) -> Any:
        return self.found(request, bucket, name)[0]

    def read(self, request: Request, bucket: str, name: str) -> Any:
        meta, data = self.found(request, bucket, name)
        return meta["contentType"], data

    def delete(self, request: Request, bucket: str, name: str) -> Any:
        self.found(request, bucket, name)
        del self.bucket(bucket)[name]
        return {}

    def list(self, request: Request, bucket: str) -> Any:
        after = request.query.get("pageToken", "")
        prefix = request.query.get("prefix", "")
        names = sorted(n for n in self.bucket(bucket) if n.startswith(prefix) and n > after)
        page = {"items": [self.bucket(bucket)[name][0] for name in names[:PAGE]]}
        return page | ({"nextPageToken": names[PAGE - 1]} if len(names) > PAGE else {})

    def batch(self, request: Request) -> Any:
        answers = b""
        for _, part in request.parts():
            verb, target = part.decode().split(" ")[:2]
            status, kind, content = self.answer(Request(verb, target, {}, b""))
            head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: {kind}\r\n\r\n"
            answers += b"--next\r\nContent-Type: application/http\r\n\r\n"
            answers += head.encode() + content + b"\r\n"
        return "multipart/mixed; boundary=next", answers + b"--next--"


class Connection(BaseHTTPRequestHandler):
    """One connection of a client, which may send many requests."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a whole answer at once: otherwise the system waits before it sends the rest
    storage: Storage

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.storage.lock:
            request = Request(self.command, self.path, self.headers, body)
            status, kind, content = self.storage.answer(request)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class StorageEmulator:
    """Listens on a free port while its block runs; ``address`` is for ``STORAGE_EMULATOR_HOST``."""

    def __init__(self) -> None:
        serving = type("Serving", (Connection,), {"storage": Storage()})
        self._server = Server(("127.0.0.1", 0), serving)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> StorageEmulator:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def main(command: list[str]) -> int:
    if not command:
        sys.exit("usage: storage_emulator.py COMMAND...")
    with StorageEmulator() as emulator:
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": emulator.address}
        return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
