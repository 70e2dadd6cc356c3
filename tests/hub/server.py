"""A hub on loopback: what an unmodified `huggingface_hub` client needs, and every way to fail.

`with HubServer() as hub:` gives `hub.endpoint` for HF_ENDPOINT, `hub.state` to look into, `hub.log` of what was asked,
and `hub.fail(kind, …)`. Large files are served from a second port under another host name, as a CDN would.
`python -m tests.hub.server` runs it until interrupted.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from . import api
from .faults import Fault
from .repositories import Hub, Refusal

PAGE = b"<html><head><title>Welcome to the airport</title></head><body>Please accept our terms.</body></html>"


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    host: str
    method: str
    path: str
    headers: dict[str, str]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


class Hangup(Exception):
    """The connection is to end here, without an answer."""


class Handler(BaseHTTPRequestHandler):
    """Reads a request, lets a fault strike or a route answer, and writes what comes of it."""

    protocol_version = "HTTP/1.1"
    server: Listener
    timeout = 60

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        hub, host = self.server.hub, self.server.role
        split = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(split.query).items()}
        self.lists = parse_qs(split.query)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else self.read_chunks()
        headers = {key.lower(): value for key, value in self.headers.items()}
        with hub.state.lock:
            hub.log.append(Asked(host, self.command, self.path, headers))
            self.fault = next((f for f in hub.faults if f.strikes(host, self.command, self.path)), None)
        try:
            if not self.strike_before():
                self.answer(host, split.path)
        except Hangup:
            self.close_connection = True
        except Refusal as refusal:
            self.refuse(refusal)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def read_chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return b""
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, host: str, path: str) -> None:
        for method, pattern, respond in api.ROUTES[host]:
            match = re.fullmatch(pattern, path)
            if match and (self.command == method or (self.command == "HEAD" and method == "GET")):
                with self.server.hub.state.lock:
                    status, body, headers = respond(self, *[unquote(part or "") for part in match.groups()])
                self.reply(status, body, headers)
                return
        raise Refusal(404, None, f"no such endpoint: {self.command} {path}")

    def refuse(self, refusal: Refusal) -> None:
        headers = {"X-Error-Message": refusal.message}
        if refusal.code:
            headers["X-Error-Code"] = refusal.code
        if refusal.commit:
            headers["X-Repo-Commit"] = refusal.commit
        if refusal.location:
            headers["Location"] = refusal.location
        self.reply(refusal.status, {"error": refusal.message}, headers)

    def strike_before(self) -> bool:
        """Faults that come in place of an answer: whether one did. The connection stays usable after a whole reply."""
        fault = self.fault
        if fault is None:
            return False
        if fault.kind == "drop" or (fault.kind == "reset" and fault.after is None):
            self.hang_up(reset=fault.kind == "reset")
        if fault.kind == "stall" and fault.after is None:
            self.server.hub.stopping.wait(fault.seconds)
            self.hang_up()
        instead: dict[str, tuple[int, Any, dict[str, str]]] = {
            "status": (fault.status, {"error": f"fault {fault.status}"}, fault.headers),
            "html": (200, PAGE, {"Content-Type": "text/html"}),
            "loop": (307, b"", {"Location": self.path}),
        }
        if fault.kind not in instead:
            return False
        self.fault = None
        self.reply(*instead[fault.kind])
        return True

    def hang_up(self, reset: bool = False) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        raise Hangup

    def reply(self, status: int, body: bytes | dict | list, headers: dict[str, str]) -> None:
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        fault = self.fault
        if fault is not None and fault.kind == "lost":
            self.hang_up()
        if status == 200 and "Accept-Ranges" in headers:
            status, body, headers = self.cut_range(body, headers)
        length = len(body)
        if fault is not None and fault.kind == "flip" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if fault is not None and fault.kind == "short":
            body, length = body[: fault.after or 0], min(length, fault.after or 0)
        stripped = {name.lower() for name in fault.headers} if fault is not None and fault.kind == "strip" else set()
        chunked = fault is not None and fault.kind == "chunked" and self.command != "HEAD"
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in stripped:
                self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Content-Length" not in headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.write_body(body, chunked)

    def cut_range(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match or (self.fault is not None and self.fault.kind == "norange"):
            return 200, body, headers
        first, last = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
        if first > last:
            raise Refusal(416, None, "Requested range not satisfiable")
        return 206, body[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(body)}"}

    def write_body(self, body: bytes, chunked: bool) -> None:
        fault = self.fault
        if chunked:
            for start in range(0, len(body), 8192):
                piece = body[start : start + 8192]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        if fault is None or fault.kind not in ("cut", "reset", "stall") or fault.after is None:
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.after])
        self.wfile.flush()
        if fault.kind == "stall":
            self.server.hub.stopping.wait(fault.seconds)
        self.hang_up(reset=fault.kind == "reset")


class Listener(ThreadingHTTPServer):
    """One port of the hub: the site itself, or its CDN."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, hub: HubServer, role: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.hub, self.role = hub, role
        self.connections: set[socket.socket] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; anything else is kept for the test to see."""
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.hub.errors.append(repr(error))


class HubServer:
    """Start, look, break, stop."""

    def __init__(self, port: int = 0) -> None:
        self.state = Hub()
        self.log: list[Asked] = []
        self.faults: list[Fault] = []
        self.errors: list[str] = []
        self.large_chunk: int | None = None
        self.page_size = 1000
        self.stopping = threading.Event()
        self.site = Listener(self, "hub", port)
        self.cdn = Listener(self, "cdn", 0)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.site.server_port}"

    @property
    def cdn_endpoint(self) -> str:
        return f"http://localhost:{self.cdn.server_port}"

    def fail(self, kind: str, path: str = "", **how: Any) -> Fault:
        fault = Fault(kind, path, **how)
        self.faults.append(fault)
        return fault

    def asked(self, method: str = "", path: str = "", host: str = "") -> list[Asked]:
        """The requests so far that match."""
        return [
            one
            for one in list(self.log)
            if (not method or one.method == method) and re.search(path, one.path) and (not host or one.host == host)
        ]

    def reset(self) -> None:
        """Forget everything, as a new hub."""
        self.state.__init__()  # type: ignore[misc]
        self.log.clear()
        self.faults.clear()
        self.errors.clear()
        self.large_chunk, self.page_size = None, 1000
        self.stopping.set()
        self.stopping = threading.Event()

    def __enter__(self) -> HubServer:
        for listener in (self.site, self.cdn):
            run: Callable[[], None] = lambda listener=listener: listener.serve_forever(poll_interval=0.02)  # noqa: E731
            threading.Thread(target=run, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening and cut what is still open: a kept-alive connection would go on answering."""
        self.stopping.set()
        for listener in (self.site, self.cdn):
            listener.shutdown()
            listener.server_close()
            for connection in list(listener.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve until interrupted, on the port given or a free one; the first line says where."""
    import sys

    with HubServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as hub:
        print(f"HF_ENDPOINT={hub.endpoint} HF_TOKEN=hf_writer HF_HUB_DISABLE_XET=1", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
