"""Runs one management command for many tenants, a process each.

Guarantees that a tenant's failure (an exception, an exit, a crash) ends only its own run, that
what it prints is kept apart from the others', and that every tenant has an outcome. Processes are
forked, so each begins with everything loaded; none shares a connection with another.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import IO, Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from tenants.context import tenant_scope
from tenants.directory import TenantRecord

_LONGEST_OUTPUT = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is the process': 0 done; negative: the signal that ended it. `reason` is the last
    line that a failed one printed."""

    tenant: str
    cell: str
    status: int
    seconds: float
    output: str

    @property
    def reason(self) -> str | None:
        if self.status == 0:
            return None
        lines = self.output.strip().splitlines()
        return lines[-1] if lines else f"status {self.status}"

    def as_document(self) -> dict[str, Any]:
        outcome = "failed" if self.status else "done"
        return {**asdict(self), "outcome": outcome, "reason": self.reason}


def run_for_each(
    tenants: Iterable[TenantRecord],
    command: Sequence[str],
    *,
    parallel: int,
    tell: Callable[[Outcome], None],
) -> list[Outcome]:
    """The outcomes in the tenants' order; `tell` hears of each as it ends."""
    order = list(tenants)
    ended = {}
    for outcome in _run(order, command, parallel):
        ended[outcome.tenant] = outcome
        tell(outcome)
    return [ended[tenant.slug] for tenant in order]


def _run(
    tenants: Sequence[TenantRecord], command: Sequence[str], parallel: int
) -> Iterator[Outcome]:
    fork = multiprocessing.get_context("fork")
    waiting = list(reversed(tenants))
    running: dict[int, tuple[BaseProcess, TenantRecord, float, IO[bytes]]] = {}
    # A child that inherits an open connection would end it for its parent.
    connections.close_all()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                tenant = waiting.pop()
                output = tempfile.TemporaryFile()  # noqa: SIM115 (until the process has ended)
                process = fork.Process(target=_child, args=(tenant, command, output.fileno()))
                process.start()
                running[process.sentinel] = (process, tenant, time.monotonic(), output)
            for sentinel in wait(list(running)):
                ended, whose, began, said = running.pop(sentinel)  # type: ignore[arg-type]
                ended.join()
                seconds = round(time.monotonic() - began, 2)
                yield Outcome(whose.slug, whose.cell, ended.exitcode or 0, seconds, _text(said))
    finally:
        for left, _, _, said in running.values():
            left.terminate()
            left.join()
            said.close()


def _child(tenant: TenantRecord, command: Sequence[str], output: int) -> None:
    """What is raised is printed by multiprocessing, which then exits with status 1."""
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    try:
        with tenant_scope(tenant):
            call_command(command[0], *command[1:])
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.returncode)
    finally:
        connections.close_all()
        sys.stdout.flush()


def _text(output: IO[bytes]) -> str:
    with output:
        output.seek(0)
        return output.read(_LONGEST_OUTPUT).decode(errors="replace")
