"""A TCP proxy in front of PostgreSQL that counts what goes over the wire.

Counts, for each database, the round trips that clients have begun and the server has ended: the
messages that ask (`Query`, `Sync`) and the `ReadyForQuery` that answers them; and the rows
(`DataRow`) that it has sent. Passes every byte on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from regions.deployment import Endpoint

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


class Wire:
    """`asked`, `answered` and `rows` by database; `connected`: how often each was logged in to."""

    def __init__(self) -> None:
        self._counting = threading.Lock()  # each connection has threads of its own
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.connected: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()

    @contextmanager
    def trips(self) -> Iterator[Counter[str]]:
        """The round trips within the block, by database; filled in at its end."""
        counted: Counter[str] = Counter()
        before, answered = self._now()
        yield counted
        deadline = time.monotonic() + 240
        while True:
            asked_now, answered_now = self._now()
            if (asked := asked_now - before) == answered_now - answered:
                break
            assert time.monotonic() < deadline, "something is still under way"
            time.sleep(0.01)
        counted.update(asked)

    def _now(self) -> tuple[Counter[str], Counter[str]]:
        with self._counting:
            return Counter(self.asked), Counter(self.answered)

    def count(self, counts: Counter[str], name: str, number: int) -> None:
        with self._counting:
            counts[name] += number


@contextmanager
def counting(server: Endpoint) -> Iterator[tuple[int, Wire]]:
    """The port to connect to instead of the server's, and the counts."""
    wire = Wire()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, server, wire), daemon=True).start()
        yield listener.getsockname()[1], wire


def _accept(listener: socket.socket, server: Endpoint, wire: Wire) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, server, wire), daemon=True).start()


def _serve(client: socket.socket, server: Endpoint, wire: Wire) -> None:
    with client, suppress(OSError), socket.create_connection((server.host, server.port)) as behind:
        for link in (client, behind):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = _start(client, behind)
        if started is None:
            return
        wire.count(wire.connected, started, 1)
        wire.count(wire.answered, started, -1)  # a login ends with the first one

        def counted(counts: Counter[str]) -> Callable[[int], None]:
            return lambda number: wire.count(counts, started, number)

        back = threading.Thread(
            target=_pass_on,
            args=(behind, client, {b"Z": counted(wire.answered), b"D": counted(wire.rows)}),
            daemon=True,
        )
        back.start()
        asked = counted(wire.asked)
        _pass_on(client, behind, {b"Q": asked, b"S": asked})
        back.join()


def _start(client: socket.socket, behind: socket.socket) -> str | None:
    """The database of the startup message; None for a cancellation."""
    while True:
        size = _exactly(client, 4)
        rest = _exactly(client, int.from_bytes(size) - 4)
        behind.sendall(size + rest)
        match int.from_bytes(rest[:4]):
            case code if code in (_SSL, _GSS):
                client.sendall(_exactly(behind, 1))
            case code if code == _CANCEL:
                return None
            case _:
                words = rest[4:].split(b"\0")
                return dict(zip(words[::2], words[1::2], strict=False))[b"database"].decode()


def _pass_on(
    source: socket.socket, target: socket.socket, counts: Mapping[bytes, Callable[[int], None]]
) -> None:
    """Messages of one direction, until it ends. They are counted before they are passed on."""
    waiting = b""
    with suppress(OSError):
        while data := source.recv(65_536):
            waiting += data
            while len(waiting) >= 5 and len(waiting) > (size := int.from_bytes(waiting[1:5])):
                if (count := counts.get(waiting[:1])) is not None:
                    count(1)
                waiting = waiting[size + 1 :]
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data
