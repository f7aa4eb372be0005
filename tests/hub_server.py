"""A model hub's HTTP interface, as much of it as publishing and fetching need, on this machine alone."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_a_token_of_tests"


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with its files by path; whoever writes shows `TOKEN`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.sent: list[str] = []  # paths of files that were fetched

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        path = urlsplit(self.path).path
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":  # of the model card's head
            wrong = "" if json.loads(body)["content"].startswith("---\n") else "no head"
            return self.answer(400 if wrong else 200, {"errors": [wrong][: bool(wrong)], "warnings": []})
        _, _, _, user, name, what, _ = path.split("/")
        files = self.server.repositories[f"{user}/{name}"]
        if what == "preupload":
            asked = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]
            return self.answer(200, {"files": modes})
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = revision(files)
        return self.answer(200, {"commitUrl": f"{self.server.address}/{user}/{name}", "commitOid": commit})

    def create(self, asked: dict) -> None:
        repository = f"{asked['organization']}/{asked['name']}"
        url = f"{self.server.address}/{repository}"
        if repository in self.server.repositories:
            return self.answer(409, {"error": "You already created this model repo", "url": url})
        self.server.repositories[repository] = {}
        if asked.get("visibility") == "private":
            self.server.private.add(repository)
        return self.answer(200, {"url": url})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        repository = "/".join(path[2:4] if path[0] == "api" else path[:2])
        files = self.server.repositories.get(repository)
        if files is None:
            return self.answer(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        commit = revision(files)
        if path[0] != "api":
            content, name = files["/".join(path[4:])], "/".join(path[4:])
            if self.command == "GET":
                self.server.sent.append(name)
            return self.answer(200, content, ETag=f'"{blob(content)}"', **{"X-Repo-Commit": commit})
        if "/".join(path[4:5]) == "tree":
            return self.answer(
                200,
                [
                    {"type": "file", "path": name, "size": len(content), "oid": blob(content)}
                    for name, content in files.items()
                ],
            )
        if path[5:] not in ([], ["main"], [commit]):
            return self.answer(404, {"error": "Invalid rev id"}, **{"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": name} for name in files]
        return self.answer(200, {"id": repository, "sha": commit, "siblings": siblings})

    def answer(self, status: int, content: object, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def blob(content: bytes) -> str:
    """What git calls a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def revision(files: dict[str, bytes]) -> str:
    return hashlib.sha1("".join(f"{name}{blob(files[name])}" for name in sorted(files)).encode()).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
