"""A hub of models on 127.0.0.1, as far as downloads need one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Repo:
    """Files of a repository; with a status, the hub refuses it."""

    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    error: str = ""

    @property
    def commit(self) -> str:
        content = b"".join(name.encode() + value for name, value in sorted(self.files.items()))
        return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(repos: dict[str, Repo]) -> Iterator[tuple[str, list[str]]]:
    """Run the hub; gives its address and the requests it gets."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            requests.append(format % args)

        def _answer(self, *, has_body: bool) -> None:
            name, _, rest = self.path.lstrip("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            repo = repos.get(name)
            if repo is None:
                return self._refuse(401, "RepoNotFound")
            if repo.status != 200:
                return self._refuse(repo.status, repo.error)
            if revision not in ("main", repo.commit):
                return self._refuse(404, "RevisionNotFound")
            if file not in repo.files:
                return self._refuse(404, "EntryNotFound", repo.commit)
            content = repo.files[file]
            self.send_response(200)
            self.send_header("X-Repo-Commit", repo.commit)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if has_body:
                self.wfile.write(content)
            return None

        def _refuse(self, status: int, error: str, commit: str = "") -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", error)
            if commit:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
