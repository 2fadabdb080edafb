"""Fair queues on a real Valkey: whose turn it is, what is held, what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import redis
from kombu import Connection, Producer
from kombu.transport.virtual import Message

from tenants.celery.broker import Channel
from tenants.celery.message import LIMIT, TENANT

A, B, C = (uuid4().hex for _ in range(3))
Open = Callable[..., Channel]


@pytest.fixture
def broker(valkeys) -> Iterator[Open]:
    """`broker(cap=0)` is a new client's channel on an empty Valkey."""
    url = valkeys.region("eu-west").valkey_url(5)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    opened: list[Connection] = []

    def open_channel(cap: int = 0, visibility: int = 600) -> Channel:
        connection = Connection(
            url,
            transport="tenants.celery.broker:Transport",
            transport_options={"tenant_concurrency": cap, "visibility_timeout": visibility},
        )
        opened.append(connection)
        return connection.default_channel

    yield open_channel
    for connection in opened:
        connection.close()


def put(channel: Channel, tenant: str | None, text: str, **headers: Any) -> None:
    owner = {TENANT: tenant} if tenant else {}
    Producer(channel).publish({"text": text}, routing_key="work", headers={**owner, **headers})


def take(channel: Channel) -> Message | None:
    return channel.basic_get("work")


def texts(channel: Channel, count: int) -> list[str]:
    found = [take(channel) for _ in range(count)]
    return [message.decode()["text"] for message in found if message]


def test_tenants_are_served_in_turn_and_each_in_its_own_order(broker):
    channel = broker()
    for number in range(4):
        put(channel, A, f"a{number}")
    put(channel, B, "b0")
    put(channel, C, "c0")
    put(channel, B, "b1")
    assert texts(channel, 9) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_a_tenant_that_comes_late_does_not_wait_for_a_flood(broker):
    channel = broker()
    for number in range(1000):
        put(channel, A, f"a{number}")
    texts(channel, 500)
    put(channel, B, "b0")
    assert "b0" in texts(channel, 2)


def test_messages_of_no_tenant_have_a_lane_too(broker):
    channel = broker(cap=1)
    for number in range(3):
        put(channel, A, f"a{number}")
        put(channel, None, f"n{number}")
    assert texts(channel, 6) == ["a0", "n0", "n1", "n2"]


def test_a_tenant_has_no_more_running_than_allowed_until_one_ends(broker):
    channel = broker(cap=2)
    for number in range(5):
        put(channel, A, f"a{number}")
    running = [take(channel) for _ in range(5)]
    assert [message is not None for message in running] == [True, True, False, False, False]
    put(channel, B, "b0")
    assert texts(channel, 2) == ["b0"]
    running[0].ack()
    assert texts(channel, 2) == ["a2"]


def test_a_plan_says_how_many_of_its_tenants_tasks_run(broker):
    channel = broker(cap=2)
    for number in range(5):
        put(channel, A, f"a{number}", **{LIMIT: "3"})
    assert texts(channel, 5) == ["a0", "a1", "a2"]
    put(channel, B, "b0", **{LIMIT: "1"})
    put(channel, B, "b1", **{LIMIT: ""})
    assert texts(channel, 2) == ["b0", "b1"]


def test_the_cap_holds_over_all_workers(broker):
    one, other = broker(cap=1), broker(cap=1)
    put(one, A, "a0")
    put(one, A, "a1")
    held = take(one)
    assert held is not None
    assert take(other) is None
    held.ack()
    assert texts(other, 1) == ["a1"]


def test_what_is_due_later_waits_in_the_broker(broker, monkeypatch):
    channel = broker()
    then = datetime.now(UTC) + timedelta(hours=1)
    put(channel, A, "later", eta=then.isoformat())
    put(channel, A, "now")
    assert texts(channel, 2) == ["now"]
    monkeypatch.setattr("tenants.celery.broker.time", SimpleNamespace(time=then.timestamp))
    assert texts(channel, 1) == ["later"]


def test_a_rejected_message_comes_back_once(broker):
    channel = broker(cap=1)
    put(channel, A, "a0")
    message = take(channel)
    assert message is not None
    message.reject(requeue=True)
    again = take(channel)
    assert again is not None
    assert again.headers["redelivered"]
    again.ack()
    assert take(channel) is None


def test_what_a_vanished_worker_held_comes_back_and_its_place_is_free(broker):
    gone, left = broker(cap=1, visibility=1), broker(cap=1, visibility=1)
    put(gone, A, "a0")
    put(gone, A, "a1")
    # It vanishes between the queue and kombu's own books: the worst moment.
    assert gone._take("work") is not None
    assert take(left) is None
    time.sleep(1.1)
    left.qos.restore_visible(interval=1)
    assert texts(left, 1) == ["a0"]


def test_nothing_is_left_of_messages_that_were_acknowledged(broker, valkeys):
    channel = broker(cap=3)
    for number in range(20):
        put(channel, (A, B)[number % 2], f"{number}")
    for _ in range(20):
        message = take(channel)
        assert message is not None
        message.ack()
    with redis.Redis.from_url(valkeys.region("eu-west").valkey_url(5)) as client:
        left = {key for key in client.scan_iter() if not key.startswith(b"_kombu.binding")}
    assert left <= {b"work"}


def test_a_queue_counts_and_forgets_what_is_in_its_lanes(broker):
    channel = broker()
    for tenant in (A, B, None):
        put(channel, tenant, "x")
    put(channel, A, "later", eta="2999-01-01T00:00:00+00:00")
    assert channel._size("work") == 4
    assert channel._purge("work") == 4
    assert texts(channel, 1) == []
