"""The little that leases need of etcd: transactions, through the JSON gateway of its v3 API.

Every call is linearizable: whichever member answers, it has asked the leader.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from regions.failover.link import Unreachable

Term = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it is stored; `revision`: when it was written last."""

    key: str
    value: str
    revision: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction did: `held` if its conditions did; the ranges that it read, in order; the
    store's revision after it, and which cluster answered."""

    held: bool
    ranges: list[list[Entry]]
    revision: int
    cluster: str


class Etcd:
    """One cluster, by the addresses of its members: whichever answered last is asked first."""

    def __init__(self, endpoints: Sequence[str], *, timeout: float) -> None:
        self._endpoints = list(endpoints)
        self._timeout = timeout
        self._client = httpx.AsyncClient(trust_env=False, timeout=timeout)

    async def close(self) -> None:
        await self._client.aclose()

    async def transact(
        self, conditions: Sequence[Term], then: Sequence[Term], otherwise: Sequence[Term] = ()
    ) -> Outcome:
        """Raises Unreachable: then it may have been done nevertheless."""
        answer = await self._ask(
            {"compare": list(conditions), "success": list(then), "failure": list(otherwise)}
        )
        found = [one["response_range"] for one in answer.get("responses", ()) if _is_range(one)]
        return Outcome(
            held=answer.get("succeeded", False),
            ranges=[[_entry(kv) for kv in one.get("kvs", ())] for one in found],
            revision=int(answer["header"]["revision"]),
            cluster=answer["header"]["cluster_id"],
        )

    async def _ask(self, body: Term) -> Term:
        reason = ""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        for left in range(len(self._endpoints), 0, -1):
            endpoint = self._endpoints[0]
            try:
                # One that is silent must leave the others time.
                async with asyncio.timeout((deadline - loop.time()) / left):
                    answer = await self._client.post(f"{endpoint}/v3/kv/txn", json=body)
                if answer.status_code == httpx.codes.OK:
                    found: Term = answer.json()
                    return found
                reason = answer.text.strip()[:200]
            except (httpx.HTTPError, TimeoutError, ValueError) as error:
                reason = str(error) or f"{type(error).__name__} at {endpoint}"
            if self._endpoints[0] == endpoint:
                self._endpoints.append(self._endpoints.pop(0))
        raise Unreachable(f"etcd does not answer: {reason}")


def put(key: str, value: str) -> Term:
    return {"request_put": {"key": _coded(key), "value": _coded(value)}}


def all_below(prefix: str) -> Term:
    return {"request_range": {"key": _coded(prefix), "range_end": _end(prefix)}}


def unchanged_since(prefix: str, revision: int) -> Term:
    """A condition: nothing below `prefix` was written after `revision`."""
    return {
        "key": _coded(prefix),
        "range_end": _end(prefix),
        "target": "MOD",
        "result": "LESS",
        "mod_revision": str(revision + 1),
    }


def is_absent(key: str) -> Term:
    """A condition: there is no such key."""
    return {"key": _coded(key), "target": "MOD", "result": "EQUAL", "mod_revision": "0"}


def has_value(key: str, value: str) -> Term:
    """A condition: that is the key's value."""
    return {"key": _coded(key), "target": "VALUE", "result": "EQUAL", "value": _coded(value)}


def _entry(kv: Term) -> Entry:
    key, value = (b64decode(kv.get(part, "")).decode() for part in ("key", "value"))
    return Entry(key, value, int(kv["mod_revision"]))


def _is_range(response: Term) -> bool:
    return "response_range" in response


def _coded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _end(prefix: str) -> str:
    return _coded(prefix[:-1] + chr(ord(prefix[-1]) + 1))
