"""A web server on loopback with one file, which can fail in every way that matters to a download."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["FileServer"]


class FileServer:
    """Serves ``content`` at ``/weights.pt``; ``fault``, if set, answers in its place and says whether it did."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fault: Callable[[Any], bool] | None = None
        self.ranges: list[str | None] = []
        self.authorizations: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer.ranges.append(self.headers.get("Range"))
                outer.authorizations += self.headers.get_all("Authorization") or []
                if outer.fault is not None and outer.fault(self):
                    return
                outer.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/weights.pt"

    def answer(self, request: Any, content: bytes | None = None, *, send: int | None = None, **headers: str) -> None:
        """The file, or the rest of it that was asked for; ``send`` bytes of the body only, then the line is cut."""
        content = self.content if content is None else content
        asked = request.headers.get("Range")
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = content[first:]
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body if send is None else body[:send])
        if send is not None:
            request.close_connection = True

    def reply(self, request: Any, status: int, body: bytes = b"", **headers: str) -> bool:
        """A plain answer, for faults."""
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)
        return True

    def __enter__(self) -> FileServer:
        threading.Thread(target=lambda: self.http.serve_forever(poll_interval=0.02), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
