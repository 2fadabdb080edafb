"""What was under way when a replica was looked at has ended before it is judged."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from regions.deployment import ADMIN_ROLE, Deployment
from regions.failover import vetting
from regions.failover.link import Link
from regions.failover.vetting import until_ended

LONG = 300.0  # this test may be kept waiting itself


def test_a_transaction_that_is_under_way_is_waited_for(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vetting, "ENDED_SECONDS", LONG)
    dsn = deployment.dsn(next(iter(deployment.regions)), "postgres", ADMIN_ROLE)

    async def story() -> None:
        link = Link("lab", dsn, timeout=LONG)
        try:
            with psycopg.connect(dsn) as session:
                session.execute("SELECT pg_current_xact_id()")
                waiting = asyncio.create_task(until_ended(link))
                await asyncio.sleep(0.2)
                assert not waiting.done()
                session.commit()
                await asyncio.wait_for(waiting, LONG)
        finally:
            await link.close()

    asyncio.run(story())
