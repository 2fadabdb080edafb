"""From a commit in the control cell to every process of the region, in under a second."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from regions import cells
from regions.deployment import AGENT_ROLE, CONTROL_CELL, Deployment
from regions.failover.link import Link
from regions.failover.publish import Bell, Publisher
from tenants.directory import DirectoryFile
from tenants.lifecycle import resume, suspend
from tenants.models import Tenant
from tests.tenants.conftest import HOME

# Another process: prints each state that it sees, with the time, and looks as a busy one does.
READER = """
import sys, time
from pathlib import Path
from tenants.directory import DirectoryFile
found, last = DirectoryFile(Path(sys.argv[1])), None
while True:
    record = found.current().by_slug.get(sys.argv[2])
    if record and record.state != last:
        last = record.state
        print(last, time.time(), found.current().version, flush=True)
    time.sleep(0.0005)
"""


@contextmanager
def publishing(deployment: Deployment, folder: Path) -> Iterator[None]:
    """The part of the region's agent that publishes, in a thread."""
    dsn = deployment.dsn(HOME, CONTROL_CELL, AGENT_ROLE)
    loop = asyncio.new_event_loop()

    async def work() -> None:
        bell = Bell(dsn)
        link = Link("control", dsn, timeout=5.0)
        listening = asyncio.create_task(bell.listen_forever())
        publisher = Publisher(link, folder)
        try:
            while True:
                await publisher.publish()
                await bell.wait(30)
        finally:
            listening.cancel()
            await link.close()

    task = loop.create_task(work())

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not (folder / "directory.json").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(60)


def test_a_commit_is_in_every_process_within_a_second(
    deployment: Deployment, tenants, tmp_path: Path
) -> None:
    slug = tenants["schema"][0].slug
    command = [sys.executable, "-c", READER, str(tmp_path), slug]
    with (
        publishing(deployment, tmp_path),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as two,
    ):
        try:
            versions = []
            for reader in (one, two):
                assert reader.stdout.readline().split()[0] == "active"
            for change, state in ((suspend, "suspended"), (resume, "active")):
                change(slug, actor="test")
                committed = time.time()
                for reader in (one, two):
                    seen, at, version = reader.stdout.readline().split()
                    assert seen == state
                    assert float(at) - committed < 10
                    versions.append(int(version))
            assert versions == sorted(versions)
        finally:
            one.kill()
            two.kill()


def test_a_change_costs_one_line_however_many_tenants_there_are(
    deployment: Deployment, tenants, tmp_path: Path
) -> None:
    slug = tenants["schema"][0].slug
    with publishing(deployment, tmp_path):
        whole = (tmp_path / "directory.json").stat()
        (log,) = tmp_path.glob("directory.*.log")
        suspend(slug, actor="test")
        resume(slug, actor="test")
        until = time.monotonic() + 60
        while log.read_bytes().count(b"\n") < 2 and time.monotonic() < until:
            time.sleep(0.01)
        now = (tmp_path / "directory.json").stat()
        assert (now.st_ino, now.st_mtime_ns) == (whole.st_ino, whole.st_mtime_ns)
        assert log.read_bytes().count(b"\n") == 2
        found = DirectoryFile(tmp_path).current()
        assert found.by_slug[slug].state == "active"


def test_rows_that_the_fabric_applies_are_published_too(
    deployment: Deployment, tenants, tmp_path: Path
) -> None:
    slug = tenants["schema"][0].slug
    with publishing(deployment, tmp_path):
        with psycopg.connect(deployment.dsn(HOME, CONTROL_CELL, AGENT_ROLE)) as agent:
            agent.execute("SET session_replication_role = replica")
            agent.execute(
                "UPDATE public.tenants_tenant SET residency = 'DE' WHERE slug = %s", (slug,)
            )
        until = time.monotonic() + 60
        reader = DirectoryFile(tmp_path)
        while reader.current().by_slug[slug].residency != "DE" and time.monotonic() < until:
            time.sleep(0.01)
        assert reader.current().by_slug[slug].residency == "DE"
    Tenant.objects.filter(slug=slug).update(residency="EU")


def test_the_whole_and_the_entries_say_the_same(deployment: Deployment, tenants) -> None:
    with cells.administrator(deployment, HOME, CONTROL_CELL) as admin:
        ((document,),) = admin.execute("SELECT publish.directory()").fetchall()
        entries = admin.execute("SELECT entry FROM publish.directory_entries").fetchall()
    assert len(document["tenants"]) >= len(tenants)
    assert sorted(document["tenants"], key=str) == sorted((entry for (entry,) in entries), key=str)
