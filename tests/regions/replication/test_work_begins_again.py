"""A part of an agent's work for a cell fails of what nobody foresaw: all of it begins again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from regions.deployment import Deployment
from regions.failover.agent import Agent
from regions.failover.replica import ReplicaWorker
from tests.regions.replication.club import DE, EU, Club, founded


def test_what_failed_begins_again_and_what_peers_sent_meanwhile_is_applied(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("regions.failover.throttling.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("regions.failover.agent.AGAIN_SECONDS", 0.1)
    with founded(deployment) as club:
        club.rest()
        with caplog.at_level(logging.ERROR, "meridian.agent"):
            asyncio.run(_fail_and_go_on(club, caplog))


async def _fail_and_go_on(club: Club, caplog: pytest.LogCaptureFixture) -> None:
    worker = ReplicaWorker(club.deployment, EU, club.spec)
    work = asyncio.create_task(Agent(club.deployment, EU)._work(worker))
    try:
        await _arrives(club, 1)
        with club.session(EU) as session:
            # Nobody does this by hand; a part that reads what cannot be is any part with a bug.
            session.execute("CREATE TEMP TABLE kept AS TABLE fabric.member")
            session.execute("DELETE FROM fabric.member")
            async with asyncio.timeout(300):
                while "begins again" not in caplog.text:
                    await asyncio.sleep(0.02)
            session.execute("INSERT INTO fabric.member SELECT * FROM kept")
        await _arrives(club, 2)
    finally:
        work.cancel()
        await asyncio.wait({work})


async def _arrives(club: Club, key: int) -> None:
    club.ask(DE, f"INSERT INTO note (id, title) VALUES ({key}, 'sent')")
    async with asyncio.timeout(300):
        while not club.ask(EU, f"SELECT 1 FROM note WHERE id = {key}"):
            await asyncio.sleep(0.02)
