"""Has a region stand aside while it is worked on: known to a majority of the acceptors, so that
every agent hears of it, whichever region is lost next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.errors import SwitchoverFailed
from regions.failover.lease import later_than, standing_aside
from regions.failover.link import Unreachable
from regions.failover.turns import clock

if TYPE_CHECKING:
    from regions.failover.etcd_acceptor import EtcdAcceptor

T = TypeVar("T")

_SAY = """
INSERT INTO lease.aside (region, aside, at, by) VALUES (%s, %s, to_timestamp(%s), %s)
ON CONFLICT (region) DO UPDATE
    SET aside = EXCLUDED.aside, at = EXCLUDED.at, by = EXCLUDED.by
    WHERE aside.at < EXCLUDED.at
"""
_WHO = "SELECT at, by FROM lease.aside WHERE region = %s"
_HEAR = "SELECT region, extract(epoch FROM at)::float8, aside FROM lease.aside"


def stand_aside(deployment: Deployment, region: str, aside: bool, *, by: str) -> None:
    """Say that it stands aside, or not any more. Safe to repeat. Raises UnknownRegion, or
    SwitchoverFailed when no majority could be told."""
    deployment.region(region)
    if deployment.lease_store.etcd:
        try:
            asyncio.run(
                _in_etcd(deployment, lambda etcd: etcd.stand_aside(region, time.time(), aside))
            )
        except Unreachable as error:
            raise SwitchoverFailed(f"{error} Repeat the command.") from error
        return
    told, at = 0, later_than(_words(deployment), region, time.time())
    for connection in _acceptors(deployment):
        connection.execute(_SAY, (region, aside, at, by))
        told += 1
    if told <= len(deployment.regions) // 2:
        raise SwitchoverFailed(
            f"Only {told} of {len(deployment.regions)} regions could be told that {region} stands "
            f"{'aside' if aside else 'aside no more'}: a majority is needed. Repeat the command."
        )


def aside_now(deployment: Deployment) -> frozenset[str]:
    """Who stands aside, as those regions know that answer. Raises Unreachable."""
    if deployment.lease_store.etcd:
        return standing_aside(asyncio.run(_in_etcd(deployment, lambda etcd: etcd.hear())))
    return standing_aside(_words(deployment))


def worked_on(region: str) -> str:
    return f"{region} is being worked on: `region maintenance {region} --end` first."


def last_word(deployment: Deployment, region: str) -> str:
    """Who spoke last of whether it stands aside, and when, as far as that is kept."""
    if deployment.lease_store.etcd:
        return "somebody"
    words = [
        word
        for connection in _acceptors(deployment)
        for word in connection.execute(_WHO, (region,)).fetchall()
    ]
    at, by = max(words, default=(None, "somebody"))
    return f"{by} at {clock(at)}" if at else by


async def _in_etcd(
    deployment: Deployment, work: Callable[[EtcdAcceptor], Coroutine[Any, Any, T]]
) -> T:
    # Its HTTP client is a tenth of a command's start; most deployments keep no lease there.
    from regions.failover.etcd import Etcd
    from regions.failover.etcd_acceptor import EtcdAcceptor

    etcd = Etcd(deployment.lease_store, timeout=5.0)
    try:
        return await work(EtcdAcceptor(etcd, "", deployment.lease_ttl_seconds))
    finally:
        await etcd.close()


def _words(deployment: Deployment) -> list[tuple[str, float, bool]]:
    return [
        word
        for connection in _acceptors(deployment)
        for word in connection.execute(_HEAR).fetchall()
    ]


def _acceptors(deployment: Deployment) -> Iterator[psycopg.Connection[Any]]:
    """A connection to each region's that answers."""
    for region in deployment.regions:
        dsn = deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE)
        try:
            connection = psycopg.connect(
                dsn, autocommit=True, connect_timeout=2, options="-c statement_timeout=2s"
            )
        except psycopg.Error:
            continue
        with connection:
            yield connection
