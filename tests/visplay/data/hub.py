"""Stand-ins for the hub, by the endpoints that huggingface_hub asks: it gives a dataset."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, what: Any, status: int = 200) -> None:
        data = json.dumps(what).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def hub(name: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves the files of `folder` as dataset `name`; yields HF_ENDPOINT and what is asked of it."""
    asked: list[str] = []
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    folders = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()}

    def about(file: str) -> dict[str, Any]:
        if file in folders:
            return {"type": "directory", "path": file, "oid": hashlib.sha1(file.encode()).hexdigest()}
        oid = hashlib.sha1(files[file]).hexdigest()
        return {"type": "file", "path": file, "size": len(files[file]), "oid": oid}

    class Handler(Answers):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if path.startswith(f"/datasets/{name}/resolve/"):
                file = path.removeprefix(f"/datasets/{name}/resolve/").partition("/")[2]
                return self.give(file) if file in files else self.say({"error": "none"}, 404)
            path = path.removeprefix(f"/api/datasets/{name}")
            if path in ("", "/revision/main", f"/revision/{COMMIT}"):
                siblings = [{"rfilename": file} for file in files]
                return self.say(
                    {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
                )
            if path.startswith("/tree/"):
                below = path.split("/", 3)[3] if path.count("/") > 2 else ""
                inside = [name for name in (*folders, *files) if Path(name).is_relative_to(below)]
                if "recursive=True" not in self.path:
                    inside = [name for name in inside if Path(name).parent == Path(below)]
                return self.say([about(name) for name in inside if name != below])
            return self.say({"error": "none"}, 404)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            asked.append(f"{self.command} {self.path}")
            body = self.body().decode()
            paths = json.loads(body)["paths"] if body.startswith("{") else []
            self.say([about(name) for name in paths if name in files or name in folders])

        def give(self, file: str) -> None:
            data, whole = files[file], len(files[file])
            status, first, last = 200, 0, whole - 1
            if wanted := self.headers.get("Range"):
                ends = wanted.removeprefix("bytes=").split("-")
                status, first, last = 206, int(ends[0]), min(int(ends[1] or last), last)
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{whole}")
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[first : last + 1])

    with _served(Handler) as endpoint:
        yield endpoint, asked


@contextlib.contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
