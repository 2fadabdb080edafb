"""Through a real Envoy: a stream's parts arrive as they are sent, and who loses one with its region
gets the next one from another, by connecting again."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.infra.test_edge import CENTRAL, HOST, WEST, Edge, edge, patient, running

__all__ = ["edge", "patient", "running"]  # fixtures

STREAMS = {
    "events": "Accept: text/event-stream",
    "websocket": (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    ),
}
_EVENTS = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_UPGRADED = (
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_HEALTHY = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Handler(socketserver.StreamRequestHandler):
    server: Streams

    def handle(self) -> None:
        self.server.connections.append(self.connection)
        name = self.server.name
        head = b"".join(iter(self.rfile.readline, b"\r\n")).lower()
        if b"/healthz/ready" in head:
            self.wfile.write(_HEALTHY.encode())
        elif b"upgrade: websocket" in head:
            self.wfile.write((_UPGRADED + name).encode())
            self.rfile.read()
        else:
            self.wfile.write(f"{_EVENTS}{len(name):x}\r\n{name}\r\n".encode())
            self.rfile.read()


class Streams(socketserver.ThreadingTCPServer):
    """A region that greets whoever opens a stream with its name, and keeps it open until it is
    lost."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def lose(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def greeting(edge: Edge) -> Iterator[dict[str, Streams]]:
    """Both regions stream."""
    for region in edge.regions.values():
        region.stop()
    streams = {name: Streams(name, region.port) for name, region in edge.regions.items()}
    yield streams
    for name, region in edge.regions.items():
        streams[name].lose()
        region.start()


def open_stream(edge: Edge, what: str) -> socket.socket:
    _, _, port = edge.url.rpartition(":")
    stream = socket.create_connection(("127.0.0.1", int(port)), timeout=300)
    stream.sendall(f"GET /live HTTP/1.1\r\nHost: {HOST}\r\n{STREAMS[what]}\r\n\r\n".encode())
    return stream


def greeted_by(stream: socket.socket) -> str:
    """Whose name comes; "" if the stream ends before."""
    heard = b""
    while part := stream.recv(4096):
        heard += part
        body = heard.partition(b"\r\n\r\n")[2]
        for name in (WEST, CENTRAL):
            if name.encode() in body:
                return name
    return ""


@pytest.mark.parametrize("what", STREAMS)
def test_who_loses_a_stream_with_its_region_gets_another_regions_by_connecting_again(
    edge: Edge, greeting: dict[str, Streams], what: str
) -> None:
    def until_greeted_by(expected: str) -> socket.socket:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            stream = open_stream(edge, what)
            if greeted_by(stream) == expected:
                return stream
            stream.close()
        pytest.fail(f"{expected} did not answer")

    with until_greeted_by(WEST) as stream:  # and so it is not kept back until it has ended
        greeting[WEST].lose()
        while stream.recv(4096):
            pass
    with until_greeted_by(CENTRAL):
        pass
