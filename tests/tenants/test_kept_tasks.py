"""A region is lost with its broker: another one does what it had not done, and it does not do it
again when it is back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from desk.models import Tag
from tenants.context import tenant_scope
from tenants.seams import record_for
from testkit.control import forget_maps
from tests.tenants import jobs
from tests.tenants.conftest import onboard
from tests.tenants.kept import Leased
from tests.tenants.workers import HASTY, until, worker

WEST, CENTRAL = "eu-west", "eu-central"
PATIENCE = 240
SENT = 8


@pytest.fixture(scope="module")
def cell(control, valkeys, appliers) -> Iterator[Leased]:
    leased = Leased(control, record_for(onboard("keeps", "dedicated", policy="active_passive")))
    yield leased
    forget_maps(control)


@pytest.fixture
def leased(cell: Leased) -> Leased:
    """Written in eu-west, with nothing in it."""
    cell.grant(WEST)
    cell.clear()
    until(lambda: cell.tags(CENTRAL) == [])
    return cell


def nothing_is_left(leased: Leased) -> None:
    for region in (WEST, CENTRAL):
        until(lambda region=region: leased.tasks(region) == [], PATIENCE)


def test_what_a_lost_region_had_not_done_is_done_once_by_the_next(leased: Leased, tmp_path: Path):
    with tenant_scope(leased.tenant):
        for number in range(SENT):
            jobs.tally.delay(f"lost {number}")
    leased.arrived(SENT, CENTRAL)
    assert leased.tell(CENTRAL) == 0, "it is not the writer"
    leased.grant(CENTRAL)
    assert leased.tell(CENTRAL) == SENT
    expected = [f"lost {number}" for number in range(SENT)]
    with worker(CENTRAL, tmp_path):
        until(lambda: leased.tags(CENTRAL) == expected, PATIENCE)
        nothing_is_left(leased)
        # It is back, and its broker still has every message.
        with worker(WEST, tmp_path):
            log = tmp_path / "worker-eu-central.log"
            dropped = "is not begun: it has ended"
            until(lambda: log.read_text().count(dropped) >= SENT, PATIENCE, log.read_text)
    assert leased.tags(CENTRAL) == expected


@pytest.mark.parametrize("within", [True, False], ids=["in a transaction", "before it"])
@pytest.mark.parametrize("returns", [False, True], ids=["lease gone", "lease back"])
def test_a_worker_that_froze_can_not_commit_what_another_region_has_done(
    leased: Leased, tmp_path: Path, within: bool, returns: bool
):
    """Not even when its region has the lease again, and lets everybody else write."""
    go, log = tmp_path / "go", tmp_path / "worker-eu-west.log"
    with worker(WEST, tmp_path) as frozen:
        with tenant_scope(leased.tenant):
            jobs.slow.delay("effect", str(go), within=within)
        until(Path(f"{go}.begun").exists, PATIENCE, log.read_text)
        until(lambda: leased.ask(CENTRAL, "SELECT 1 FROM fabric.task WHERE claims = 1"), PATIENCE)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            leased.grant(CENTRAL)
            assert leased.tell(CENTRAL) == 1
            go.touch()
            with worker(CENTRAL, tmp_path):
                until(lambda: leased.tags(CENTRAL) == ["effect"], PATIENCE)
                nothing_is_left(leased)
            if returns:
                leased.grant(WEST)
        finally:
            go.touch()
            os.kill(frozen.pid, signal.SIGCONT)
        until(lambda: "is somebody else's now" in log.read_text(), PATIENCE, log.read_text)
    until(lambda: leased.tags(WEST) == ["effect"], PATIENCE)
    assert leased.tags(CENTRAL) == ["effect"]


def test_a_worker_that_froze_can_not_commit_what_another_one_beside_it_has_done(
    shared_pair, leased: Leased, tmp_path: Path
):
    """The broker gives its message to the next one; the lease is the same."""
    go, log = tmp_path / "go", tmp_path / "worker-eu-west.log"
    with worker(WEST, tmp_path) as frozen:
        with tenant_scope(shared_pair[0]):
            jobs.slow.delay("beside", str(go), within=False)
        until(Path(f"{go}.begun").exists, PATIENCE, log.read_text)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            go.touch()
            hasty = worker(WEST, tmp_path, settings=HASTY)
            with hasty, tenant_scope(shared_pair[0]):
                until(lambda: Tag.objects.filter(name__startswith="beside").count() == 1, PATIENCE)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        until(lambda: "is somebody else's now" in log.read_text(), PATIENCE, log.read_text)
    with tenant_scope(shared_pair[0]):
        assert Tag.objects.filter(name__startswith="beside").count() == 1
