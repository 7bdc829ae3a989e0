"""As much of a model hub as fetching asks for: one repository, answered over HTTP on this machine."""

import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def serving(root: Path, name: str, asked: list[str]) -> Iterator[str]:
    """The address of a hub that has the files below a folder under a repository's name; notes what was asked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(root, name, asked))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(root: Path, name: str, asked: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            asked.append(f"{self.command} {path}")
            file = root / path.removeprefix(f"/{name}/resolve/{COMMIT}/")
            if path == f"/api/models/{name}/tree/{COMMIT}":
                files = [
                    {"type": "file", "path": p.relative_to(root).as_posix(), "size": p.stat().st_size, "oid": COMMIT}
                    for p in root.rglob("*")
                    if p.is_file()
                ]
                self.send(json.dumps(files).encode(), "application/json", body)
            elif path in (f"/api/models/{name}", *(f"/api/models/{name}/revision/{at}" for at in ("main", COMMIT))):
                files = [{"rfilename": p.relative_to(root).as_posix()} for p in root.rglob("*") if p.is_file()]
                self.send(json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode(), "application/json", body)
            elif path.startswith(f"/{name}/resolve/{COMMIT}/") and file.is_file():
                self.send(file.read_bytes(), "application/octet-stream", body)
            else:
                self.send_error(404)

        def send(self, data: bytes, kind: str, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the library)
            pass

    return Handler
