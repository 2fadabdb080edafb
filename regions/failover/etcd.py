"""The little that leases need of etcd: transactions, through the JSON gateway of its v3 API.

Every call is linearizable: whichever member answers, it has asked the leader. Why none answers is
logged, once for each reason.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from regions.deployment import ETCD_PASSWORD, LeaseStore
from regions.errors import DeploymentError
from regions.failover.link import Unreachable

log = logging.getLogger("meridian.agent")

Term = dict[str, Any]

# What was a token is none any more: unknown (401), or of older rights (400).
_TOKEN_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.BAD_REQUEST)


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
    """One cluster, by the addresses of its members: whichever answered last is asked first.

    Raises DeploymentError where certificates can't be read, or the user's password is not there.
    """

    def __init__(self, store: LeaseStore, *, timeout: float) -> None:
        self._store = store
        self._endpoints = list(store.etcd)
        self._timeout = timeout
        if store.user and not store.password:
            raise DeploymentError(f"lease_store has the user {store.user}: set {ETCD_PASSWORD}.")
        self._said = self._token = ""
        self._client = httpx.AsyncClient(trust_env=False, timeout=timeout, verify=_tls(store))

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
                # One that is silent must leave the others time. A member that does not take a
                # certificate says so after the handshake: an OSError that httpx does not know.
                async with asyncio.timeout((deadline - loop.time()) / left):
                    answer = await self._call(endpoint, body)
                if answer.status_code == httpx.codes.OK:
                    found: Term = answer.json()
                    self._said = ""
                    return found
                reason = self._refusal(endpoint, answer.text.strip()[:200])
            except (httpx.HTTPError, OSError, ValueError) as error:
                reason = self._failure(endpoint, error)
            if self._endpoints[0] == endpoint:
                self._endpoints.append(self._endpoints.pop(0))
        if reason != self._said:
            log.error("etcd does not answer: %s", reason)
            self._said = reason
        raise Unreachable(f"etcd does not answer: {reason}")

    async def _call(self, endpoint: str, body: Term) -> httpx.Response:
        """With a token, if there is a user: a new one if none is known, or it is not valid (any
        more: etcd forgets them)."""
        for _ in range(2):
            if self._store.user and not self._token:
                login = {"name": self._store.user, "password": self._store.password}
                answer = await self._post(endpoint, "auth/authenticate", login)
                if answer.status_code != httpx.codes.OK:
                    break
                self._token = answer.json()["token"]
            answer = await self._post(endpoint, "kv/txn", body)
            if not self._store.user or answer.status_code not in _TOKEN_REFUSED:
                break
            self._token = ""
        return answer

    async def _post(self, endpoint: str, what: str, body: Term) -> httpx.Response:
        headers = {"Authorization": self._token} if self._token else {}
        return await self._client.post(f"{endpoint}/v3/{what}", json=body, headers=headers)

    def _refusal(self, endpoint: str, said: str) -> str:
        user = self._store.user
        if "CommonName" in said:
            shown = self._store.certificate
            return f"{endpoint} takes no certificate with a common name, as {shown} has ({said})"
        if "authentication failed" in said:
            return f"{endpoint} does not let {user} in: is {ETCD_PASSWORD} its password? ({said})"
        if "permission denied" in said:
            return f"{endpoint}: {user} may not read and write what is below meridian/ ({said})"
        if "user name is empty" in said:
            return f"{endpoint} wants a user: name one in lease_store, set {ETCD_PASSWORD} ({said})"
        return said

    def _failure(self, endpoint: str, error: Exception) -> str:
        said = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in said:
            vouching = self._store.ca or "the system's authorities"
            return f"{endpoint} has a certificate that {vouching} does not vouch for ({said})"
        if "ALERT" in said and "CERTIFICATE" in said:
            shown = self._store.certificate or "that no certificate is shown"
            return f"{endpoint} does not take {shown} ({said})"
        return f"{endpoint}: {said}"


def _tls(store: LeaseStore) -> ssl.SSLContext | bool:
    if not any(url.startswith("https://") for url in store.etcd):
        return False
    try:
        context = ssl.create_default_context(cafile=store.ca)
        if store.certificate:
            context.load_cert_chain(store.certificate, store.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(file) for file in (store.ca, store.certificate, store.key) if file)
        raise DeploymentError(f"lease_store: one of {files} can't be used: {error}") from error
    return context


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
