"""The operator's command or a region's agent is killed half-way, and the command given again, by
somebody else: it ends as asked, one region writes each cell, and nothing is lost or left open."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from infra.fleet.commands import inherited
from infra.fleet.faults import heal_process, running
from infra.fleet.processes import MARK, environment
from infra.fleet.state import REPOSITORY, saved_plan
from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment, load
from regions.drills.report import both_open
from regions.drills.watch import Watch
from regions.failover.aside import aside_now
from regions.topology import CellSpec, read_topology
from tests.fleet.conftest import Fleet
from tests.fleet.test_story import Writer, eventually

HOME, AWAY = "eu-west", "eu-central"
_LEFT_OPEN = "SELECT cell, target, at FROM lease.request WHERE outcome IS NULL"


@dataclass(frozen=True)
class Cell:
    """The one that is moved, whose tenant's clients write all the time."""

    name: str
    place: Deployment

    def leased(self) -> list[CellSpec]:
        """All that have one writer."""
        cells = read_topology(self.place.map_dirs, self.place.regions).cells.values()
        return [spec for spec in cells if spec.policy.leased]

    def neighbours(self) -> list[CellSpec]:
        """What moves when regions are emptied."""
        return [spec for spec in self.leased() if spec.regions[:2] == (HOME, AWAY)]

    def writers(self, spec: CellSpec | None = None) -> list[str]:
        """Whose gates are open; also of another cell."""
        spec = spec or next(one for one in self.leased() if one.name == self.name)
        return [
            region
            for region in spec.regions
            if self.asked("SELECT fabric.may_write()", at=region, of=spec.database) == [(True,)]
        ]

    def bring(self, fleet: Fleet, region: str) -> None:
        if self.writers() != [region]:
            words = ("region", "switchover", self.name, "--to", region)
            fleet.manage(*words, check=False)

    def asked(self, query: Any, *, at: str, of: str = CONTROL_DATABASE) -> list[tuple[Any, ...]]:
        """What a region's database answers."""
        with psycopg.connect(self.place.dsn(at, of, AGENT_ROLE)) as control:
            return control.execute(query).fetchall()


@pytest.fixture(scope="module")
def cell(fleet: Fleet) -> Iterator[Cell]:
    """Whatever was killed: never two writers of any cell, and one when it has ended; nothing that
    was acknowledged is lost, and no request is left open."""
    tenant = fleet.json("tenant", "create", "mortal", "--mode", "dedicated", "--residency", "EU")
    cell = Cell(tenant["cell"], load(saved_plan(fleet.folder).state / "deployment.json"))
    leased = cell.leased()
    with Watch(cell.place, leased, lambda _: None) as watch, Writer(fleet, tenant) as writes:
        yield cell
        for spec in leased:
            eventually(lambda spec=spec: len(cell.writers(spec)) == 1)
    assert [both for gates in watch.gates.values() if (both := both_open(gates))] == []
    for region in cell.place.regions:
        eventually(lambda at=region: not cell.asked(_LEFT_OPEN, at=at))
    assert fleet.json("cell", "verify", cell.name)["equal"]
    replica = fleet.json("cell", "show", cell.name)["replicas"][0]
    with psycopg.connect(replica["dsn_admin"]) as admin:
        kept = {title for (title,) in admin.execute("SELECT title FROM desk_ticket")}
    assert writes.acknowledged
    assert [title for title, _ in writes.acknowledged if title not in kept] == []


@contextmanager
def mortal_agent(fleet: Fleet, region: str, where: str) -> Iterator[subprocess.Popen[bytes]]:
    """In the place of the region's own, which goes on when it has been killed."""
    plan = saved_plan(fleet.folder)
    running(plan).stop([f"{region}:agent"])
    words = ("-m", "tests.fleet.killed", where, "regions.failover", "--region", region)
    with (plan.logs / "mortal.log").open("ab") as log:
        agent = subprocess.Popen(
            [sys.executable, *words, "--deployment", plan.state / "deployment.json"],
            cwd=REPOSITORY,
            env={**inherited(), **environment(plan, REPOSITORY, region), MARK: str(plan.state)},
            stdout=log,
            stderr=log,
        )
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait()
        heal_process(plan, f"{region}:agent")


# Before the agent is about to …: whose, and what it had been asked for.
STAGES = {
    "begin": ("from", "agent:Agent.hand_over", ("switchover", "{cell}", "--to", "{to}")),
    "let go": ("from", "lease:Leases.release", ("failover", "{source}")),
    "tell that it has": ("from", "wishes:Wishes.end", ("evacuate", "{source}")),
    "open the gate": (
        "to", "promoting:Promotions.promote", ("switchover", "{cell}", "--to", "{to}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_whenever_an_agent_is_killed_the_command_ends_as_asked_if_another_gives_it_too(
    fleet: Fleet, cell: Cell, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whose, where, command = STAGES[stage]
    (source,) = eventually(cell.writers)
    (to,) = {HOME, AWAY} - {source}
    words = ("region", *(word.format(cell=cell.name, source=source, to=to) for word in command))
    place = f"regions.failover.{where}@{cell.name}"
    with ThreadPoolExecutor(1) as pool:
        with mortal_agent(fleet, source if whose == "from" else to, place) as agent:

            def is_killed() -> bool:
                cell.bring(fleet, source)  # a region whose agent began anew may have lost it
                asked = pool.submit(fleet.manage, *words, check=False)
                while agent.poll() is None and not asked.done():
                    time.sleep(0.05)
                return agent.poll() is not None

            eventually(is_killed)
            assert agent.returncode == -signal.SIGKILL
        # Whoever gave it first may still be waiting.
        monkeypatch.setenv("LOGNAME", "another")
        eventually(
            lambda: fleet.manage(*words, check=False).returncode == 0 and cell.writers() == [to]
        )


# Where the operator's command is killed: its requests are left and nobody hears of them; they are
# heard, and nobody looks whether clients write. And who writes before and after.
LEFT, HEARD = "ask:_Agent.outcome", "operations:Probes.first_from"
OPERATIONS = [
    (LEFT, HOME, AWAY, ("switchover", "{cell}", "--to", AWAY)),
    (HEARD, AWAY, HOME, ("switchover", "{cell}", "--to", HOME)),
    (LEFT, HOME, AWAY, ("evacuate", HOME)),
    (HEARD, AWAY, HOME, ("failover", AWAY)),
    (HEARD, HOME, AWAY, ("drain", HOME, "--step", "10")),
    (HEARD, AWAY, HOME, ("failback", "--region", HOME, "--step", "10", "--wait", "60")),
    (LEFT, HOME, AWAY, ("failover", HOME, "--to", AWAY)),
    ("emptying:_empty_aside", HOME, AWAY, ("maintenance", HOME, "--step", "10")),
    ("emptying:homecoming", AWAY, AWAY, ("maintenance", HOME, "--end")),
    (LEFT, AWAY, HOME, ("failback", "--region", HOME)),
]


@pytest.mark.parametrize(
    ("where", "source", "to", "command"), OPERATIONS, ids=[" ".join(one[-1]) for one in OPERATIONS]
)
def test_a_command_that_is_killed_is_completed_by_whoever_gives_it_again(
    fleet: Fleet,
    cell: Cell,
    where: str,
    source: str,
    to: str,
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["region", *(word.format(cell=cell.name) for word in command)]

    def is_killed() -> bool:
        cell.bring(fleet, source)
        return fleet.killed_before(f"regions.failover.{where}", *words)

    def is_completed() -> bool:
        if fleet.manage(*words, check=False).returncode or cell.writers() != [to]:
            return False
        of_region = source != to and "switchover" not in words
        return not (of_region and any(source in cell.writers(one) for one in cell.neighbours()))

    eventually(is_killed)
    monkeypatch.setenv("LOGNAME", "another")
    eventually(is_completed)
    is_aside = "maintenance" in words and "--end" not in words
    assert aside_now(cell.place) == ({HOME} if is_aside else set())
