"""What was under way when a replica was looked at has ended before it is judged."""

from __future__ import annotations

import asyncio

import psycopg

from regions.deployment import ADMIN_ROLE, Deployment
from regions.failover.link import Link
from regions.failover.vetting import until_ended


def test_a_transaction_that_is_under_way_is_waited_for(deployment: Deployment) -> None:
    dsn = deployment.dsn(next(iter(deployment.regions)), "postgres", ADMIN_ROLE)

    async def story() -> None:
        link = Link("lab", dsn, timeout=30)
        try:
            with psycopg.connect(dsn) as session:
                session.execute("SELECT pg_current_xact_id()")
                waiting = asyncio.create_task(until_ended(link))
                await asyncio.sleep(0.2)
                assert not waiting.done(), waiting.result()
                session.commit()
                await asyncio.wait_for(waiting, 30)
        finally:
            await link.close()

    asyncio.run(story())
