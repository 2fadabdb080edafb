"""A real supervisor with real process trees: power cut, crash, freeze, thaw, and what is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.fleet import leftovers
from infra.fleet.commands import inherited
from infra.fleet.control import Supervisor, socket_path
from infra.fleet.processes import MARK, ProcessPlan, Stage
from infra.fleet.state import REPOSITORY, make_folder
from infra.fleet.supervisord import render
from tests.settings import TEST_GUARD

# Has a child in a session of its own, as PostgreSQL's and granian's are.
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""
WEB, AGENT = "north:web", "north:agent"


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    make_folder(tmp_path)
    (tmp_path / "parent.py").write_text(PARENT)
    planned = [
        ProcessPlan(
            group="north",
            name=name,
            stage=Stage.SERVING,
            command=(sys.executable, str(tmp_path / "parent.py")),
            environment={MARK: str(tmp_path)},
            log=tmp_path / "logs" / f"{name}.log",
        )
        for name in ("web", "agent")
    ]
    configuration = render(tmp_path, socket_path(tmp_path), planned, as_root=False)
    (tmp_path / "supervisord.conf").write_text(configuration)
    supervisor = Supervisor(tmp_path)
    supervisor.launch({**inherited(), MARK: str(tmp_path), "PYTHONPATH": str(REPOSITORY)})
    TEST_GUARD.ends(int((tmp_path / "supervisord.pid").read_text()))
    supervisor.start([WEB, AGENT])
    until(lambda: all(tree_of(supervisor, name) for name in (WEB, AGENT)), "trees")
    yield supervisor
    if supervisor.alive():
        supervisor.shutdown()
    leftovers.end(leftovers.leftovers(tmp_path, ()))
    socket_path(tmp_path).unlink(missing_ok=True)


def tree_of(supervisor: Supervisor, name: str) -> list[psutil.Process]:
    """The process and its child; [] until both are there."""
    pid = supervisor.processes()[name].pid
    if pid is None:
        return []
    children = psutil.Process(pid).children(recursive=True)
    return [psutil.Process(pid), *children] if children else []


def test_a_power_cut_kills_whole_trees_and_nothing_comes_back(supervisor: Supervisor) -> None:
    trees = [process for name in (WEB, AGENT) for process in tree_of(supervisor, name)]
    supervisor.power("off", [WEB, AGENT])
    _, alive = psutil.wait_procs(trees, timeout=300)
    assert not alive
    time.sleep(1.5)
    assert {now.state for now in supervisor.processes().values()} == {"STOPPED"}
    assert supervisor.start([WEB]) == [WEB]
    until(lambda: tree_of(supervisor, WEB), "started again")


def test_a_crash_is_followed_by_a_fresh_process(supervisor: Supervisor) -> None:
    before = tree_of(supervisor, WEB)
    until(lambda: supervisor.processes()[WEB].state == "RUNNING", "running")
    supervisor.power("crash", [WEB])
    _, alive = psutil.wait_procs(before, timeout=300)
    assert not alive
    until(lambda: tree_of(supervisor, WEB), "respawned")
    assert tree_of(supervisor, WEB)[0] != before[0]


def test_freezing_stops_the_tree_where_it_is_and_thawing_lets_it_go_on(
    supervisor: Supervisor,
) -> None:
    tree = tree_of(supervisor, WEB)
    supervisor.power("freeze", [WEB])
    until(lambda: {process.status() for process in tree} == {psutil.STATUS_STOPPED}, "stopped")
    assert supervisor.processes()[WEB].frozen
    assert not supervisor.processes()[AGENT].frozen
    supervisor.power("thaw", [WEB])
    until(lambda: psutil.STATUS_STOPPED not in {process.status() for process in tree}, "thawed")
    assert tree_of(supervisor, WEB) == tree


def test_shutting_down_ends_frozen_processes_too(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.power("freeze", [WEB])
    supervisor.shutdown()
    leftovers.end(leftovers.leftovers(tmp_path, ()))
    assert not supervisor.alive()
    assert leftovers.leftovers(tmp_path, ()) == []


def test_what_a_killed_supervisor_leaves_is_found_and_ended_and_nothing_else_is(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    trees = {process for name in (WEB, AGENT) for process in tree_of(supervisor, name)}
    psutil.Process(int((tmp_path / "supervisord.pid").read_text())).kill()
    until(lambda: not supervisor.alive(), "killed")
    found = leftovers.leftovers(tmp_path, ())
    assert set(found) == trees
    assert leftovers.leftovers(tmp_path / "other", ()) == []
    leftovers.end(found)
    assert leftovers.leftovers(tmp_path, ()) == []
