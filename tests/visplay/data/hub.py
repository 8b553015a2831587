"""Stand-ins for the hub, by the endpoints that huggingface_hub asks: one gives a dataset, one takes some."""

import base64
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
def hub_that_takes(
    folder: Path, *, token: str, of: str = "me", lost: tuple[str, ...] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Takes uploads of who shows `token`, for repositories of `of`, and lays their files into KIND/ORG/NAME.

    Yields HF_ENDPOINT and what was asked, the settings of a new repository behind it. What is asked with a
    word of `lost` in it is answered with status 500, once each.
    """
    asked: list[str] = []
    blobs: dict[str, bytes] = {}
    losing = list(lost)

    class Handler(Answers):
        def do_POST(self) -> None:
            body = self.body()
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            for word in losing:
                if word in path:
                    losing.remove(word)
                    return self.say({"error": "out of order"}, 500)
            if path == "/api/validate-yaml":
                return self.say({"warnings": [], "errors": []})
            if self.headers.get("Authorization") != f"Bearer {token}":
                return self.say({"error": "Invalid username or password."}, 401)
            if path == "/api/repos/create":
                return self.create(json.loads(body))
            kind, name, verb = self.parts(path)
            if not name.startswith(f"{of}/"):
                return self.say({"error": "You don't have the rights to write."}, 403)
            if not (folder / kind / name).is_dir():
                return self.say({"error": "Repository not found"}, 404)
            if verb == "preupload":
                files = [
                    {"path": file["path"], "shouldIgnore": False, "uploadMode": mode(file["path"])}
                    for file in json.loads(body)["files"]
                ]
                return self.say({"files": files})
            if verb == "batch":
                return self.say(
                    {"transfer": "basic", "objects": [*map(self.slot, json.loads(body)["objects"])]}
                )
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "header":
                    continue
                value = line["value"]
                file = folder / kind / name / value["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                small = line["key"] == "file"
                file.write_bytes(base64.b64decode(value["content"]) if small else blobs[value["oid"]])
            self.say({"commitUrl": f"{self.here}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

        def do_PUT(self) -> None:
            data = self.body()
            asked.append(f"{self.command} /lfs")
            blobs[hashlib.sha256(data).hexdigest()] = data
            self.say({})

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.say({"error": "none"}, 404)

        @property
        def here(self) -> str:
            return f"http://{self.headers['Host']}"

        def create(self, wanted: dict[str, Any]) -> None:
            asked[-1] += f" {json.dumps(wanted, sort_keys=True)}"
            kind, name = wanted.get("type", "model"), f"{wanted.get('organization') or of}/{wanted['name']}"
            url = f"{self.here}/{'datasets/' if kind == 'dataset' else ''}{name}"
            if not name.startswith(f"{of}/"):
                return self.say({"error": "You don't have the rights to create it."}, 403)
            if (folder / kind / name).is_dir():
                return self.say({"error": "You already created this repo", "url": url}, 409)
            (folder / kind / name).mkdir(parents=True)
            self.say({"url": url, "id": name})

        def parts(self, path: str) -> tuple[str, str, str]:
            if path.endswith(".git/info/lfs/objects/batch"):
                name = path.removesuffix(".git/info/lfs/objects/batch").strip("/")
                kind = "dataset" if name.startswith("datasets/") else "model"
                return kind, name.removeprefix("datasets/"), "batch"
            _, _, kinds, org, name, verb, _ = path.split("/")
            return kinds.removesuffix("s"), f"{org}/{name}", verb

        def slot(self, wanted: dict[str, Any]) -> dict[str, Any]:
            if wanted["oid"] in blobs:
                return wanted
            return {**wanted, "actions": {"upload": {"href": f"{self.here}/lfs/{wanted['oid']}"}}}

    def mode(path: str) -> str:
        return "lfs" if path.endswith((".safetensors", ".parquet")) else "regular"

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
