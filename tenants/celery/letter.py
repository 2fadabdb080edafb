"""A task's message as it is written down, and put into a broker from there.

Guarantees that what is sent later, or again, or from another region is the message that Celery
made: the same id, arguments, callbacks, chain and time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import Celery
from django.conf import settings
from kombu.utils.json import dumps, loads

from regions.current import deployment

# How it gets to its queue is for whoever sends it to say.
_ROUTE = frozenset(
    {"exchange", "routing_key", "declare", "retry", "retry_policy", "timeout", "confirm_timeout"}
)


class Recorder:
    """Stands where Celery expects a producer, and keeps what it is given."""

    def __init__(self, app: Celery) -> None:
        # Not connected: Celery asks it which errors are a broker's.
        self.connection = app.producer_pool.connections.connection
        self.body: Any = None
        self.options: dict[str, Any] = {}

    def publish(self, body: Any, **options: Any) -> None:
        self.body, self.options = body, options

    @property
    def queue(self) -> str:
        return str(self.options["routing_key"])

    @property
    def due(self) -> datetime | None:
        """When it may run at the earliest."""
        eta = self.options["headers"].get("eta")
        return datetime.fromisoformat(eta) if eta else None

    def text(self) -> str:
        """What `publish` sends."""
        kept = {name: value for name, value in self.options.items() if name not in _ROUTE}
        return str(dumps({"body": self.body, "options": kept}))


def publish(app: Celery, text: str, *, region: str, queue: str | None) -> None:
    """Into the region's broker; `queue` None: the region's own. Raises OperationalError."""
    letter = loads(text)
    options = {**letter["options"], "exchange": "", "routing_key": queue or region, "retry": True}
    options["retry_policy"] = app.conf.task_publish_retry_policy
    if region == settings.MERIDIAN_REGION:
        with (
            app.producer_or_acquire() as producer,
            producer.connection._reraise_as_library_errors(),
        ):
            producer.publish(letter["body"], **options)
        return
    url = deployment().region(region).valkey_url(0)
    with (
        app.connection_for_write(url) as connection,
        connection._reraise_as_library_errors(),
    ):
        app.amqp.Producer(connection, auto_declare=False).publish(letter["body"], **options)
