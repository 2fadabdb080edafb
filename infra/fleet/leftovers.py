"""Finds and ends what a fleet left running after its supervisor was killed.

A process is the fleet's if it carries the fleet's mark with this state folder, or if it is a
PostgreSQL whose working folder is one of this fleet's clusters (its children overwrite their
environment). Nothing is ever chosen by name alone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from infra.fleet.power import send
from infra.fleet.processes import MARK

PATIENCE_SECONDS = 10


def leftovers(state: Path, clusters: Iterable[Path]) -> list[psutil.Process]:
    """The fleet's processes that run now, without this one and its parents."""
    folders = {str(folder) for folder in clusters}
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and _belongs(process, str(state), folders)
    ]


def end(processes: list[psutil.Process]) -> None:
    """Ask them to end, wait, then kill what is left."""
    for process in processes:
        number = signal.SIGINT if _is_postgres(process) else signal.SIGTERM
        send([process], number)
    send(processes, signal.SIGCONT)
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    send(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=PATIENCE_SECONDS)


def _belongs(process: psutil.Process, state: str, clusters: set[str]) -> bool:
    try:
        if process.uids().real != os.geteuid() and os.geteuid() != 0:
            return False
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARK) == state:
            return True
        return _is_postgres(process) and process.cwd() in clusters
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False


def _is_postgres(process: psutil.Process) -> bool:
    try:
        name: str = process.name()
    except psutil.NoSuchProcess:
        return False
    return name.startswith("postgres")
