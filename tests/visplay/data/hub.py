"""A stand-in for the hub: one dataset of parquet files, by the endpoints that huggingface_hub asks."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40


@contextlib.contextmanager
def hub(name: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves the files of `folder` as dataset `name`; yields HF_ENDPOINT and what is asked of it."""
    asked: list[str] = []
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def about(file: str) -> dict[str, Any]:
        oid = hashlib.sha1(files[file]).hexdigest()
        return {"type": "file", "path": file, "size": len(files[file]), "oid": oid}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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
                return self.say([about(file) for file in files if file.startswith(below)])
            return self.say({"error": "none"}, 404)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            paths = json.loads(body)["paths"] if body.startswith("{") else []
            self.say([about(file) for file in paths if file in files])

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

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
