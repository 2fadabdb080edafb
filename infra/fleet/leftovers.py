"""Finds and ends what a fleet left running after its supervisor was killed.

A process is the fleet's if it carries the fleet's mark with this state folder. PostgreSQL's
children and Valkey overwrite their environment: they are known by their name together with a
working folder that is one of this fleet's. Nothing is ever chosen by name alone.
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
OVERWRITE_ENVIRONMENT = frozenset({"postgres", "valkey-server"})


def leftovers(state: Path, data_folders: Iterable[Path]) -> list[psutil.Process]:
    """The fleet's processes that run now, without this one and its parents."""
    folders = {str(folder) for folder in data_folders}
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
        number = signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM
        send([process], number)
    send(processes, signal.SIGCONT)
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    send(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=PATIENCE_SECONDS)


def _belongs(process: psutil.Process, state: str, folders: set[str]) -> bool:
    try:
        if process.uids().real != os.geteuid() and os.geteuid() != 0:
            return False
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARK) == state:
            return True
        folder = str(process.cwd()).removesuffix(" (deleted)")
        return folder in folders and _name(process) in OVERWRITE_ENVIRONMENT
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""
