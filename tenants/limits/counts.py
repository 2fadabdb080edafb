"""What a region has counted of each tenant, in its store.

Per tenant and day (UTC): requests, refused ones, time spent on answering, connections held. Per
tenant: what was held when it was last measured. Kept for KEEP_SECONDS; the control cell keeps the
days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from tenants.limits.judge import Held
from tenants.limits.store import Store

KEEP_SECONDS = 3 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Done:
    """`busy_ms` is milliseconds spent on answering; `connections` the most that were held at once,
    by a tenant with such a limit."""

    requests: int = 0
    refused: int = 0
    busy_ms: int = 0
    connections: int = 0


class Counts:
    """One region's. Raises redis.RedisError when the store does not answer."""

    def __init__(self, store: Store) -> None:
        self._client = store.client

    def add(self, done: Mapping[UUID, Done]) -> None:
        """Add to today's counts, in one exchange."""
        day = today()
        with self._client.pipeline(transaction=False) as pipeline:
            for tenant, more in done.items():
                key = used_key(tenant, day)
                pipeline.hincrby(key, "requests", more.requests)
                pipeline.hincrby(key, "refused", more.refused)
                pipeline.hincrby(key, "busy_ms", more.busy_ms)
                pipeline.expire(key, KEEP_SECONDS)
                pipeline.sadd(f"active:{day}", str(tenant))
            pipeline.expire(f"active:{day}", KEEP_SECONDS)
            pipeline.execute()

    def active(self, day: date) -> set[UUID]:
        """Who was counted on that day."""
        return {UUID(str(tenant)) for tenant in self._client.smembers(f"active:{day}")}

    def done(self, tenants: Sequence[UUID], day: date) -> dict[UUID, Done]:
        with self._client.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.hgetall(used_key(tenant, day))
            found = pipeline.execute()
        return {
            tenant: Done(**{name: int(value) for name, value in counted.items()})
            for tenant, counted in zip(tenants, found, strict=True)
        }

    def hold(self, held: Mapping[UUID, Held]) -> None:
        """Note what the tables were measured to hold."""
        day = today()
        with self._client.pipeline(transaction=False) as pipeline:
            for tenant, now in held.items():
                pipeline.hset(held_key(tenant), mapping={"rows": now.rows, "bytes": now.bytes})
                pipeline.expire(held_key(tenant), KEEP_SECONDS)
                pipeline.sadd(f"active:{day}", str(tenant))
            pipeline.execute()

    def held(self, tenants: Sequence[UUID]) -> dict[UUID, Held]:
        """Those that were measured."""
        with self._client.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.hgetall(held_key(tenant))
            found = pipeline.execute()
        return {
            tenant: Held(
                int(measured["rows"]), int(measured["bytes"]), int(measured.get("files", 0))
            )
            for tenant, measured in zip(tenants, found, strict=True)
            if "rows" in measured
        }

    def files(self, tenants: Sequence[UUID]) -> dict[UUID, int]:
        """The bytes of files of those for whom they are counted here."""
        with self._client.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.hget(held_key(tenant), "files")
            found = pipeline.execute()
        return {t: int(files) for t, files in zip(tenants, found, strict=True) if files is not None}

    def add_files(self, tenant: UUID, more: int) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.hincrby(held_key(tenant), "files", more)
            pipeline.expire(held_key(tenant), KEEP_SECONDS)
            pipeline.execute()

    def copy_files(self, files: Mapping[UUID, int]) -> None:
        """What another region has counted."""
        with self._client.pipeline(transaction=False) as pipeline:
            for tenant, taken in files.items():
                pipeline.hset(held_key(tenant), "files", taken)
                pipeline.expire(held_key(tenant), KEEP_SECONDS)
            pipeline.execute()

    def warn(self, cell: str, states: Mapping[UUID, str]) -> None:
        """Note who of the cell is near or over a quota, and nobody else."""
        with self._client.pipeline() as pipeline:
            pipeline.delete(_warned(cell))
            if states:
                told: dict[Any, Any] = {str(tenant): text for tenant, text in states.items()}
                pipeline.hset(_warned(cell), mapping=told)
                pipeline.expire(_warned(cell), KEEP_SECONDS)
                pipeline.sadd("warned", cell)
            pipeline.execute()

    def warned(self) -> dict[UUID, str]:
        """Everybody in the region who is near or over a quota, and how far."""
        cells = sorted(str(cell) for cell in self._client.smembers("warned"))
        with self._client.pipeline(transaction=False) as pipeline:
            for cell in cells:
                pipeline.hgetall(_warned(cell))
            found = pipeline.execute()
        return {UUID(tenant): text for told in found for tenant, text in told.items()}

    def claim(self, turn: str, seconds: float) -> bool:
        """Whether it is this caller's turn; nobody else's until `again_in` or `seconds` later."""
        return bool(self._client.set(turn, 1, nx=True, px=int(seconds * 1000)))

    def again_in(self, turn: str, seconds: float) -> None:
        self._client.pexpire(turn, int(seconds * 1000))

    def note(self, name: str, value: str) -> None:
        self._client.set(name, value)

    def noted(self, name: str) -> str | None:
        found = self._client.get(name)
        return None if found is None else str(found)


def today() -> date:
    return datetime.now(UTC).date()


def used_key(tenant: UUID, day: date) -> str:
    return f"used:{{{tenant}}}:{day}"


def held_key(tenant: UUID) -> str:
    return f"held:{{{tenant}}}"


def _warned(cell: str) -> str:
    return f"warned:{cell}"
