"""A stand-in for the Hugging Face hub on this machine: the routes that its client calls to read and to commit.

Written after the requests of `huggingface_hub` 2.4. It keeps what it is sent and refuses a wrong token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "notarealtoken" * 3
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A repository: its files, the one commit that `main` stands for, and what was committed to it."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    damaged: bool = False  # no file can be had
    commits: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Hub:
    """The stand-in: repositories by kind and name (`datasets/owner/name`), and every request that came."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorisations: set[str | None] = field(default_factory=set)

    def environment(self, home: str) -> dict[str, str]:
        """Return what points the client here, and away from the user's own token and cache."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": home,
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",  # tests are offline unless they serve a hub
            "HF_DATASETS_OFFLINE": "0",
        }


@contextmanager
def hub() -> Iterator[Hub]:
    """Serve a hub on a free port of this machine."""
    state = Hub()

    class Handler(_Handler):
        hub = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        self.hub.authorisations.add(self.headers.get("Authorization"))
        body = self._body()
        if found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(f"datasets/{found[1]}", found[3])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(f"models/{found[1]}", found[3])
        if path == "/api/whoami-v2":
            return self._json({"name": "clinic", "type": "user", "auth": {}})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if found := re.fullmatch(r"/api/((?:datasets|models)/[^/]+/[^/]+)(?:/([a-z]+)(?:/(.+))?)?", path):
            return self._repository(found[1], found[2] or "revision", found[3] or "main", body)
        return self._refuse(404, "EntryNotFound")

    def _repository(self, name: str, action: str, revision: str, body: bytes) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        if repository.gated:
            return self._refuse(403, "GatedRepo")
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if action == "tree":
            return self._json([_entry(path, data) for path, data in repository.files.items()])
        if action == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            return self._json(
                {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in names]}
            )
        if action == "commit":
            return self._commit(name, repository, body)
        identity = name.split("/", 1)[1]
        files = [{"rfilename": path} for path in repository.files]
        return self._json({"id": identity, "sha": COMMIT, "private": repository.private, "siblings": files})

    def _create(self, wanted: Mapping[str, Any]) -> None:
        kind = f"{wanted.get('type') or 'model'}s"
        name = (
            f"{wanted['organization']}/{wanted['name']}"
            if wanted.get("organization")
            else f"clinic/{wanted['name']}"
        )
        private = wanted.get("private") is True or wanted.get("visibility") == "private"
        self.hub.repositories[f"{kind}/{name}"] = Repository(private=private)
        self._json({"url": f"{self.hub.address}/{kind}/{name}", "id": "0"})

    def _commit(self, name: str, repository: Repository, body: bytes) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "Unauthorized")
        lines = [json.loads(line) for line in body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit", COMMIT) != COMMIT:
            return self._refuse(412, "Conflict")
        files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines[1:]}
        repository.commits.append({"header": header, "files": files})
        repository.files |= files
        return self._json(
            {"commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
        )

    def _file(self, name: str, path: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        if repository.damaged:
            return self._refuse(403, "Forbidden")
        if path not in repository.files:
            return self._refuse(404, "EntryNotFound")
        data = repository.files[path]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        return self._send(200, data, "application/octet-stream", headers)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), "application/json", {})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", "application/json", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status: int, data: bytes, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


def _entry(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
