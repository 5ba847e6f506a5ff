"""A stand-in for the Hugging Face hub on the loopback interface: as much of it as its Python clients ask for.

Files are kept by commit. What it was asked is in `requests`; `faults` makes the paths that contain a text fail.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Fault = Literal["500", "truncated_once", "truncated", "short"]


class HubServer(ThreadingHTTPServer):
    """Serves `files[(repository, commit)][path]`; `port` is free to choose."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.faults: dict[str, Fault] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def downloads(self) -> list[str]:
        """The files whose content was asked for."""
        return [request.split(" ", 1)[1] for request in self.requests if request.startswith("GET /datasets/")]


@contextlib.contextmanager
def serve_hub() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the names that http.server calls
        self._answer()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        if "/datasets/" in path:  # the client also asks about itself
            self.server.requests.append(f"{self.command} {path}")
        fault = next((fault for part, fault in self.server.faults.items() if part in path), None)
        if fault == "500":
            return self._send(500, b"")
        for (repository, commit), files in self.server.files.items():
            api = f"/api/datasets/{repository}"
            if path.startswith(f"/datasets/{repository}/resolve/{commit}/"):
                return self._send_file(commit, path.split(f"/{commit}/", 1)[1], files, fault)
            if path == f"{api}/revision/{commit}":
                listed = [{"rfilename": name} for name in files]
                return self._send_json({"_id": "1", "id": repository, "sha": commit, "siblings": listed})
            if path == f"{api}/tree/{commit}" or path.startswith(f"{api}/tree/{commit}/"):
                folder = path.removeprefix(f"{api}/tree/{commit}").strip("/")
                entries = _tree(files, folder, recursive="recursive=true" in self.path.lower())
                return self._send_json(entries) if entries else self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            if path == f"{api}/paths-info/{commit}":
                wanted = json.loads(body)["paths"]
                return self._send_json([_entry(name, files[name]) for name in wanted if name in files])
        known = any(f"/{repository}/" in path for repository, _ in self.server.files)
        return self._send(404, b"", {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"})

    def _send_file(self, commit: str, name: str, files: dict[str, bytes], fault: Fault | None) -> None:
        if name not in files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = files[name]
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        if self.command == "HEAD":
            return self._send(200, content, headers)
        start, end = 0, len(content)
        if asked := self.headers.get("Range"):
            first, last = asked.removeprefix("bytes=").split("-")
            start, end = int(first), min(end, int(last) + 1) if last else end
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        part = content[start:end]
        half = content[start : max(start, len(content) // 2)]  # never a byte of the second half
        if fault == "short":
            return self._send(200, half, headers)
        if fault in ("truncated", "truncated_once"):
            if fault == "truncated_once":
                self.server.faults.clear()
            return self._send(206 if asked else 200, part, headers, sent=half)
        return self._send(206 if asked else 200, part, headers)

    def _send_json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, sent: bytes | None = None
    ) -> None:
        """Answer with `content`, or promise it and hang up after `sent`."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content if sent is None else sent)
        self.close_connection = sent is not None


def _tree(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """What is in a folder ("" for all), files and folders."""
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents} - {"."}
    entries = [{"type": "directory", "path": name, "oid": hashlib.sha1(name.encode()).hexdigest()} for name in folders]
    entries += [_entry(name, content) for name, content in files.items()]
    here = PurePosixPath(folder)
    return [
        entry
        for entry in sorted(entries, key=lambda entry: str(entry["path"]))
        if (parents := PurePosixPath(entry["path"]).parents)[0] == here or (recursive and here in parents)
    ]


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
