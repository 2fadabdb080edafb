"""Fair queues on Valkey: within a queue, tenants are served in turn.

Guarantees that a tenant waits for a few tasks of the others, not for all of another tenant's;
that no tenant has more tasks running than allowed; that a task which is due later waits in the
broker, not in a worker; and that a message is held from the moment it leaves the queue until it
is acknowledged, so a worker that dies loses nothing. Kombu's Redis transport does the rest.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

from tenants.celery.message import LIMIT, TENANT

_SCRIPT = (Path(__file__).parent / "broker.lua").read_text()
_TAKEN = "meridian.taken"
NO_TENANT = "-"


class QoS(kombu_redis.QoS):  # type: ignore[misc]
    """Acknowledging or restoring a message makes room in its tenant's lane."""

    def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any:
        with self.pipe_or_acquire(pipe) as pipe:
            self.channel.run("release", "", delivery_tag, client=pipe)
            return pipe


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """`tenant_concurrency`, a transport option: how many tasks of one tenant may run at a time
    in a region, unless its plan says another number; 0 is no limit."""

    QoS = QoS
    tenant_concurrency = 0
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "tenant_concurrency")

    def run(self, command: str, queue: str, *arguments: Any, client: Any = None) -> Any:
        """One command of the script; `client` may be a pipeline."""
        keys = (queue, self.unacked_key, self.unacked_index_key, _TAKEN)
        options = (command, self.tenant_concurrency, time.time(), *arguments)
        with self.conn_or_acquire(client) as client:
            return client.eval(_SCRIPT, len(keys), *keys, *options)

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        self.run("put", queue, *_entry(message), due(message), "last", limit_of(message))

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        payload["headers"]["redelivered"] = True
        payload["properties"]["delivery_info"]["redelivered"] = True
        end = "last" if leftmost else "first"
        for queue in self._lookup(exchange, routing_key):
            options = (due(payload), end, limit_of(payload))
            self.run("put", queue, *_entry(payload), *options, client=pipe)

    def _restore(self, message: Any, leftmost: bool = False) -> None:
        self.qos.restore_by_tag(message.delivery_tag, leftmost=leftmost)

    def _take(self, queue: str) -> Any:
        found = self.run("take", queue, dumps(queue))
        return None if found is None else loads(bytes_to_str(found))

    def _get(self, queue: str) -> Any:
        found = self._take(queue)
        if found is None:
            raise Empty
        return found

    def _brpop_read(self, **options: Any) -> bool:
        """A token, or a second without one: see whose turn it is."""
        try:
            try:
                rung = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            queues = self.active_queues
            if rung:
                first = bytes_to_str(rung[0])
                self._queue_cycle.rotate(first)
                queues = [first, *(queue for queue in queues if queue != first)]
            for queue in queues:
                found = self._take(queue)
                if found is not None:
                    self.connection._deliver(found, queue)
                    return True
            raise Empty
        finally:
            self._in_poll = None

    def _size(self, queue: str) -> int:
        return int(self.run("size", queue))

    def _purge(self, queue: str) -> int:
        return int(self.run("purge", queue))

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return self._size(queue) > 0

    def _delete(self, queue: str, *args: Any, **options: Any) -> None:
        super()._delete(queue, *args, **options)
        self.run("purge", queue)


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """`broker_transport = "tenants.celery.broker:Transport"`"""

    Channel = Channel
    supports_batch_publish = False


def lane_of(message: dict[str, Any]) -> str:
    """The lane of a message: its tenant's id. What is written there is checked when it runs."""
    named = str(message.get("headers", {}).get(TENANT) or NO_TENANT)
    return named if named.isalnum() else NO_TENANT


def limit_of(message: dict[str, Any]) -> str:
    """How many the tenant's plan lets run, as it was when the message was sent; "" if it says
    nothing."""
    text = str(message.get("headers", {}).get(LIMIT) or "")
    return text if text.isdecimal() else ""


def due(message: dict[str, Any]) -> float:
    """When it may be delivered, in seconds since 1970; 0: at once."""
    eta = message.get("headers", {}).get("eta")
    if not eta:
        return 0.0
    at = datetime.fromisoformat(eta)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _entry(message: dict[str, Any]) -> tuple[str, str]:
    """The lane, and the message behind its delivery tag."""
    return lane_of(message), f"{message['properties']['delivery_tag']}|{dumps(message)}"
