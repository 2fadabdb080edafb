"""From a commit in the control cell to every process of the region, without a look at the clock."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
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
from tests.tenants.workers import until

PATIENCE = 240.0

# Another process: prints each state that it sees, and looks as a busy one does.
READER = """
import sys, time
from pathlib import Path
from tenants.directory import DirectoryFile
found, last = DirectoryFile(Path(sys.argv[1])), None
while True:
    record = found.current().by_slug.get(sys.argv[2])
    if record and record.state != last:
        last = record.state
        print(last, found.current().version, flush=True)
    time.sleep(0.0005)
"""


@contextmanager
def publishing(deployment: Deployment, folder: Path) -> Iterator[None]:
    """The part of the region's agent that publishes, in a thread."""
    dsn = deployment.dsn(HOME, CONTROL_CELL, AGENT_ROLE)
    loop = asyncio.new_event_loop()

    async def work() -> None:
        bell = Bell(dsn)
        link = Link("control", dsn, timeout=PATIENCE)
        listening = asyncio.create_task(bell.listen_forever())
        publisher = Publisher(link, folder)
        try:
            while True:
                await publisher.publish()
                await bell.wait(24 * 3600)  # nothing comes but by the bell
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await link.close()

    task = loop.create_task(work())

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until((folder / "directory.json").exists, PATIENCE)
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(PATIENCE)


def test_a_commit_is_in_every_process_though_nobody_looks_at_the_clock(
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
                for reader in (one, two):
                    seen, version = reader.stdout.readline().split()
                    assert seen == state
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
        for number, change in enumerate((suspend, resume), start=1):
            change(slug, actor="test")
            # What comes together is written together.
            until(partial(has_lines, log, number), PATIENCE)
        now = (tmp_path / "directory.json").stat()
        assert (now.st_ino, now.st_mtime_ns) == (whole.st_ino, whole.st_mtime_ns)
        assert log.read_bytes().count(b"\n") == 2
        found = DirectoryFile(tmp_path).current()
        assert found.by_slug[slug].state == "active"


def has_lines(log: Path, number: int) -> bool:
    return log.read_bytes().count(b"\n") >= number


def test_what_changed_before_the_bell_listens_rings_it_too(control: Deployment) -> None:
    async def work() -> None:
        bell = Bell(control.dsn(HOME, CONTROL_CELL, AGENT_ROLE))
        listening = asyncio.create_task(bell.listen_forever())
        try:
            async with asyncio.timeout(PATIENCE):
                await bell.wait(24 * 3600)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    asyncio.run(work())


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
        reader = DirectoryFile(tmp_path)
        until(lambda: reader.current().by_slug[slug].residency == "DE", PATIENCE)
    Tenant.objects.filter(slug=slug).update(residency="EU")


def test_the_whole_and_the_entries_say_the_same(deployment: Deployment, tenants) -> None:
    with cells.administrator(deployment, HOME, CONTROL_CELL) as admin:
        ((document,),) = admin.execute("SELECT publish.directory()").fetchall()
        entries = admin.execute("SELECT entry FROM publish.directory_entries").fetchall()
    assert len(document["tenants"]) >= len(tenants)
    assert sorted(document["tenants"], key=str) == sorted((entry for (entry,) in entries), key=str)
