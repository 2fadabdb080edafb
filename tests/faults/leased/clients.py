"""Clients of a leased cell: each does one request after the other, through the edge or at one
region's own door, and notes what it was told.

A register is the body of a ticket. It is read by a change of another field of it, whose answer has
the body: a `remote` change is confirmed by a peer, and with it what its transaction has seen. A
plain GET claims less: any region answers it from what it has.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import httpx

from tests.faults.history import Outcome
from tests.faults.leased.history import Event

TICKETS = "/api/desk/tickets"
ANSWER_SECONDS = 4.0
PAUSE_SECONDS = 0.15
# Problems whose documents promise that nothing was changed.
UNCHANGED = {
    "fenced", "no-writer", "not-writer", "not-served-here", "saturated", "busy", "map-not-loaded",
    "database-unavailable", "unknown-host", "too-many-connections", "storage-full",
}  # fmt: skip
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose cell it is, and how to be let in; `doors` are URLs: the edge's, and the regions'."""

    cell: str
    host: str
    token: str
    regions: tuple[str, ...]
    doors: Mapping[str, str]


class Client(threading.Thread):
    """Of one `door`, until `stop`: writes and reads `keys` (tickets' ids by name)."""

    def __init__(
        self,
        tenant: Tenant,
        door: str,
        name: str,
        keys: Mapping[str, int],
        *,
        durability: str,
        seed: int,
    ) -> None:
        super().__init__(daemon=True)
        self.events: list[Event] = []
        self._tenant = tenant
        self._door = door
        self._name = name
        self._keys = dict(keys)
        self._durability = durability
        self._random = Random(f"{name} {seed}")
        self._prefix = f"{seed}.{name}"
        self._number = 0
        self._ended = threading.Event()

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        with connect(self._tenant, self._door) as session:
            while not self._ended.wait(self._random.uniform(0, 2 * PAUSE_SECONDS)):
                key = self._random.choice(list(self._keys))
                writes = self._durability == "local" or self._random.random() < 0.5
                self.events.append(self._attempt(session, key, writes=writes))

    def _attempt(self, session: httpx.Client, key: str, *, writes: bool) -> Event:
        self._number += 1
        value = f"{self._prefix}.{self._number}" if writes else ""
        return attempt(
            session, self._name, key, self._keys[key], value, writes, durability=self._durability
        )


def connect(tenant: Tenant, door: str) -> httpx.Client:
    headers = {"Host": tenant.host, "Authorization": f"Bearer {tenant.token}"}
    return httpx.Client(
        base_url=tenant.doors[door], headers=headers, timeout=ANSWER_SECONDS, trust_env=False
    )


def attempt(
    session: httpx.Client,
    client: str,
    key: str,
    ticket: int,
    value: str,
    writes: bool,
    *,
    durability: str,
) -> Event:
    """One request and what was said about it."""
    changes = {"body": value} if writes else {"status": "open"}
    called = time.monotonic()
    region = ""
    try:
        answer = session.patch(
            f"{TICKETS}/{ticket}", json=changes, headers={"X-Durability": durability}
        )
    except httpx.HTTPError as error:
        outcome = Outcome.FAIL if isinstance(error, NEVER_SENT) else Outcome.MAYBE
    else:
        outcome = told(answer)
        region = answer.headers.get("x-region", "")
        if outcome is Outcome.OK and not writes:
            value = answer.json()["body"]
    return Event(client, key, writes, value, outcome, called, time.monotonic(), region)


def told(answer: httpx.Response) -> Outcome:
    """What the answer promises: nothing, unless it says so."""
    if answer.is_success:
        return Outcome.MAYBE if answer.headers.get("x-durability") == "maybe" else Outcome.OK
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        kind = str(answer.json().get("type", "")).rpartition("/")[2].rpartition(":")[2]
        return Outcome.FAIL if kind in UNCHANGED else Outcome.MAYBE
    return Outcome.MAYBE


def events_of(clients: Sequence[Client]) -> list[Event]:
    return [event for client in clients for event in client.events]
