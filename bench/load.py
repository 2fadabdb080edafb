"""A load generator of one thread: keep-alive connections, one request at a time on each.

Its own cost is about 15 µs a request, on a core that the server does not use.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def get(host: str, path: str) -> bytes:
    """A GET request's bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode()


def answer_all(port: int, requests: Iterable[bytes], *, connections: int = 4) -> None:
    """Send each of `requests` once, `connections` at a time. Raises AssertionError unless all are
    answered with 200."""
    upcoming = iter(requests)

    def work(_: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as link:
            for request in upcoming:
                link.sendall(request)
                _receive(link)

    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(work, range(connections)))


def requests_per_second(
    port: int, requests: Iterable[bytes], *, seconds: float, connections: int = 8
) -> float:
    """Requests answered with 200 each second; `requests` are sent in turn, again and again.
    Raises AssertionError on any other answer."""
    poll = select.epoll()
    open_ones = {}
    for _ in range(connections):
        link = socket.create_connection(("127.0.0.1", port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(link, select.EPOLLIN)
        open_ones[link.fileno()] = link
    upcoming = cycle(requests)
    answered = 0
    try:
        for link in open_ones.values():
            link.sendall(next(upcoming))
        started = time.perf_counter()
        until = started + seconds
        while (now := time.perf_counter()) < until:
            for number, _ in poll.poll(5):
                link = open_ones[number]
                _receive(link)
                answered += 1
                link.sendall(next(upcoming))
        return answered / (now - started)
    finally:
        for link in open_ones.values():
            link.close()
        poll.close()


def _receive(link: socket.socket) -> None:
    """Read one whole response."""
    data = link.recv(65_536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(link)
    length = _LENGTH.search(data, 0, end + 2)
    assert data[9:12] == b"200", data[:600]
    assert length is not None, data[:600]
    missing = end + 4 + int(length[1]) - len(data)
    while missing > 0:
        missing -= len(_more(link))


def _more(link: socket.socket) -> bytes:
    data = link.recv(65_536)
    assert data, "the server closed the connection"
    return data
