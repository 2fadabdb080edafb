"""The WAN proxy on real sockets: what each condition does to bytes in flight."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.wan.__main__ import routes, serve
from infra.wan.conditions import (
    AGENTS,
    Condition,
    Link,
    LinkState,
    are_in_force,
    parse,
    render,
    write,
)
from infra.wan.proxy import Route, Wan
from testkit.ports import free_port_base

THERE: Link = ("a", "b")
BACK: Link = ("b", "a")
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def wan_to_echo() -> AsyncIterator[tuple[Wan, Callable[[], Awaitable[Client]]]]:
    """A link a→b to a server that sends back what it gets, and a way to open connections."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    base = free_port_base()
    server = await asyncio.start_server(echo, "127.0.0.1", base)
    wan = Wan((Route(THERE, ("127.0.0.1", base + 1), ("127.0.0.1", base)),))
    await wan.apply({})
    opened: list[Client] = []

    async def connect() -> Client:
        opened.append(await asyncio.open_connection("127.0.0.1", base + 1))
        return opened[-1]

    try:
        yield wan, connect
    finally:
        for _, writer in opened:
            writer.transport.abort()
        wan.close()
        server.close()
        await asyncio.sleep(0.05)


async def ask(client: Client, text: bytes, timeout: float = 30.0) -> bytes:
    reader, writer = client
    writer.write(text)
    await writer.drain()
    return await asyncio.wait_for(reader.readexactly(len(text)), timeout)


def test_the_agents_way_to_a_member_of_etcd_is_a_link_like_any_other(tmp_path: Path) -> None:
    at = {"host": "etcd.example", "port": 2379}
    link = {"to": "etcd.example:2379", "host": "127.0.0.1", "port": 7102, "at": at}
    document = {"regions": [], "links": [], "store_links": [link]}
    (tmp_path / "deployment.json").write_text(json.dumps(document))
    (route,) = routes(tmp_path)
    assert route == Route(
        (AGENTS, "etcd.example:2379"), ("127.0.0.1", 7102), ("etcd.example", 2379)
    )


def test_a_healthy_link_carries_megabytes_unchanged() -> None:
    async def story() -> None:
        async with wan_to_echo() as (_, connect):
            payload = bytes(range(256)) * 8192
            assert await ask(await connect(), payload, timeout=60) == payload

    asyncio.run(story())


def test_latency_is_paid_in_each_direction() -> None:
    async def story() -> None:
        async with wan_to_echo() as (wan, connect):
            client = await connect()
            await ask(client, b"warm")
            await wan.apply({THERE: Condition(latency_ms=80), BACK: Condition(latency_ms=40)})
            began = time.monotonic()
            await ask(client, b"ping")
            assert time.monotonic() - began >= 0.12

    asyncio.run(story())


def test_jitter_never_reorders() -> None:
    async def story() -> None:
        async with wan_to_echo() as (wan, connect):
            await wan.apply({THERE: Condition(jitter_ms=20)})
            reader, writer = await connect()
            for number in range(50):
                writer.write(b"%03d" % number)
                await asyncio.sleep(0.002)
            received = await asyncio.wait_for(reader.readexactly(150), 60)
            assert received == b"".join(b"%03d" % number for number in range(50))

    asyncio.run(story())


def test_bandwidth_is_limited() -> None:
    async def story() -> None:
        async with wan_to_echo() as (wan, connect):
            await wan.apply({THERE: Condition(kilobytes_per_second=500)})
            client = await connect()
            began = time.monotonic()
            await ask(client, b"x" * 200_000, timeout=60)
            assert time.monotonic() - began > 0.35

    asyncio.run(story())


def test_a_cut_resets_what_is_open_and_refuses_what_is_new_until_it_heals() -> None:
    async def story() -> None:
        async with wan_to_echo() as (wan, connect):
            client = await connect()
            await ask(client, b"warm")
            # One cut direction is enough: TCP needs both.
            await wan.apply({BACK: Condition(LinkState.CUT)})
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await ask(client, b"gone")
            with pytest.raises(ConnectionRefusedError):
                await connect()
            await wan.apply({})
            assert await ask(await connect(), b"back") == b"back"

    asyncio.run(story())


def test_a_black_hole_accepts_delivers_nothing_and_lets_it_out_when_it_heals() -> None:
    async def story() -> None:
        async with wan_to_echo() as (wan, connect):
            await wan.apply({THERE: Condition(LinkState.BLACK_HOLE)})
            reader, writer = await connect()
            writer.write(b"held")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.3)
            await wan.apply({})
            assert await asyncio.wait_for(reader.readexactly(4), 30) == b"held"

    asyncio.run(story())


def test_a_one_way_fault_stops_answers_but_not_questions() -> None:
    async def story() -> None:
        async with wan_to_echo() as (wan, connect):
            client = await connect()
            await ask(client, b"warm")
            await wan.apply({BACK: Condition(LinkState.BLACK_HOLE)})
            with pytest.raises(TimeoutError):
                await ask(client, b"question", timeout=0.3)
            await wan.apply({THERE: Condition(LinkState.BLACK_HOLE)})
            # The question had arrived: its answer comes though the way there is closed now.
            assert await asyncio.wait_for(client[0].readexactly(8), 30) == b"question"

    asyncio.run(story())


def test_conditions_survive_their_document() -> None:
    conditions = {
        THERE: Condition(LinkState.CUT, latency_ms=5),
        BACK: Condition(jitter_ms=2, kilobytes_per_second=10),
    }
    assert parse(render(conditions)) == conditions
    assert render({THERE: Condition()}) == {"links": []}


def test_it_is_told_which_conditions_are_in_force(tmp_path: Path) -> None:
    """Whoever breaks a link goes on when it is broken."""
    (tmp_path / "deployment.json").write_text('{"regions": [], "links": []}')

    async def run() -> None:
        serving = asyncio.create_task(serve(tmp_path))
        for latency in (0.0, 100.0, 200.0):
            write(tmp_path, {THERE: Condition(latency_ms=latency)})
            assert not are_in_force(tmp_path)
            while not are_in_force(tmp_path):
                await asyncio.sleep(0.01)
        serving.cancel()

    asyncio.run(run())
