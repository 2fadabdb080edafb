"""Power switches inside `supervisord`: off as a power cut, frozen, thawed.

`off` kills whole process trees at one blow and they stay off: the supervisor would otherwise
start again what dies. Trees, because PostgreSQL's children leave the process group.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Any

import psutil
from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, RPCError


class PowerInterface:
    """XML-RPC methods `power.off`, `power.crash`, `power.freeze` and `power.thaw`.

    Each takes process ids such as `eu-west:web`.
    """

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord

    def off(self, ids: list[str]) -> bool:
        """Kill the processes and keep them off."""
        chosen = [self._process(name) for name in ids]
        trees = frozen_trees(process.pid for process in chosen if process.pid)
        for process in chosen:
            process.administrative_stop = True
            if process.get_state() in (ProcessStates.EXITED, ProcessStates.BACKOFF):
                process.change_state(ProcessStates.STOPPED)
            elif process.pid and process.get_state() != ProcessStates.STOPPING:
                process.kill(signal.SIGKILL)
        send(trees, signal.SIGKILL)
        return True

    def crash(self, ids: list[str]) -> bool:
        """Kill the processes; the supervisor starts them again, as after any crash."""
        pids = [self._process(name).pid for name in ids]
        send(frozen_trees(pid for pid in pids if pid), signal.SIGKILL)
        return True

    def freeze(self, ids: list[str]) -> bool:
        """Stop the processes where they are: they keep sockets and memory, and do nothing."""
        pids = [self._process(name).pid for name in ids]
        frozen_trees(pid for pid in pids if pid)
        return True

    def thaw(self, ids: list[str]) -> bool:
        """Let frozen processes go on."""
        pids = [self._process(name).pid for name in ids]
        send(tree(pid for pid in pids if pid), signal.SIGCONT)
        return True

    def _process(self, name: str) -> Any:
        group, _, member = name.partition(":")
        try:
            return self._supervisord.process_groups[group].processes[member]
        except KeyError:
            raise RPCError(Faults.BAD_NAME, name) from None


def make_interface(supervisord: Any, **_: Any) -> PowerInterface:
    """What `[rpcinterface:power]` names."""
    return PowerInterface(supervisord)


def tree(roots: Iterable[int]) -> list[psutil.Process]:
    """The processes and all their descendants."""
    found: dict[int, psutil.Process] = {}
    for pid in roots:
        try:
            root = psutil.Process(pid)
            members = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        found |= {member.pid: member for member in members}
    return list(found.values())


def frozen_trees(roots: Iterable[int]) -> list[psutil.Process]:
    """Freeze whole trees and return them. Repeats until no child was born meanwhile."""
    roots = list(roots)
    frozen: set[psutil.Process] = set()
    while new := set(tree(roots)) - frozen:
        send(new, signal.SIGSTOP)
        frozen |= new
    return list(frozen)


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Signal each process; psutil makes sure that the id is still the same process's."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
