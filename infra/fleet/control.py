"""The launcher's side of `supervisord`: start it, talk to it over its socket, end it."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from infra.errors import ServerFailed

LONGEST_SOCKET_PATH = 90
ANSWER_SECONDS = 60.0  # one that has not begun by then has failed
UNREACHABLE = (OSError, xmlrpc.client.ProtocolError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process as the supervisor and the kernel see it."""

    id: str
    state: str
    pid: int | None
    frozen: bool

    @property
    def running(self) -> bool:
        return self.state == "RUNNING" and not self.frozen


def socket_path(state: Path) -> Path:
    """The supervisor's socket; in the temporary folder when the state folder's path is long."""
    path = state / "supervisord.sock"
    if len(str(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(str(state).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"meridian-{os.geteuid()}-{digest}.sock"


@dataclass(frozen=True, slots=True)
class Supervisor:
    """The supervisor of the fleet in one state folder."""

    state: Path

    def alive(self) -> bool:
        try:
            self._call("supervisor.getState")
        except UNREACHABLE:
            return False
        return True

    def launch(self, environment: Mapping[str, str]) -> None:
        """Start supervisord in the background. Raises ServerFailed with its message."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "supervisor.supervisord"),
                *("-c", str(self.state / "supervisord.conf")),
            ],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            reason = next((line for line in lines if line.startswith("Error")), lines[-1])
            raise ServerFailed(f"supervisord did not start: {reason}")
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self.alive():
            if time.monotonic() > deadline:
                raise ServerFailed(f"supervisord does not answer: see {self.state}/logs.")
            time.sleep(0.05)

    def processes(self) -> dict[str, ProcessStatus]:
        """All processes by id."""
        return {
            status.id: status for status in map(_status, self._call("supervisor.getAllProcessInfo"))
        }

    def start(self, ids: Iterable[str]) -> list[str]:
        """Start those that don't run; returns their ids."""
        now = self.processes()
        started = [name for name in ids if now[name].state not in ("RUNNING", "STARTING")]
        for name in started:
            self._wait_for_stop(name)
            try:
                self._call("supervisor.startProcess", name, False)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == Faults.ALREADY_STARTED:
                    continue
                raise ServerFailed(f"{name} can't be started: {fault.faultString}") from fault
        return started

    def stop(self, ids: Iterable[str]) -> None:
        """Stop the processes in an orderly way and wait until they have ended."""
        now = self.processes()
        stopping = [name for name in ids if now[name].state in ("RUNNING", "STARTING", "BACKOFF")]
        for name in stopping:
            try:
                self._call("supervisor.stopProcess", name, False)
            except xmlrpc.client.Fault as fault:
                # It may have ended by itself since it was looked at.
                if fault.faultCode != Faults.NOT_RUNNING:
                    raise ServerFailed(f"{name} can't be stopped: {fault.faultString}") from fault
        for name in stopping:
            self._wait_for_stop(name)

    def power(self, switch: str, ids: Iterable[str]) -> None:
        """`off`, `crash`, `freeze` or `thaw` (see `power`)."""
        self._call(f"power.{switch}", list(ids))

    def shutdown(self) -> None:
        """End everything and the supervisor itself, and wait for it."""
        pid = self._call("supervisor.getPID")
        everything = self.processes()
        self.power("thaw", everything)
        self.stop(everything)
        self._call("supervisor.shutdown")
        try:
            psutil.Process(pid).wait(timeout=30)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            return  # the sweep for leftovers comes next

    def _wait_for_stop(self, name: str) -> None:
        while self.processes()[name].state == "STOPPING":
            time.sleep(0.05)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.state)}")
        server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        call: Any = server
        for part in method.split("."):
            call = getattr(call, part)
        try:
            return call(*arguments)
        finally:
            transport.close()


def _status(info: Mapping[str, Any]) -> ProcessStatus:
    pid = info["pid"] or None
    frozen = False
    if pid:
        try:
            frozen = psutil.Process(pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            pid = None
    return ProcessStatus(f"{info['group']}:{info['name']}", info["statename"], pid, frozen)
