"""Whether a port can be had, and who is in the way when one of the plan is taken."""

from __future__ import annotations

import socket

import psutil

from infra.errors import PortInUse
from infra.fleet.plan import HOST, Plan


def check_free(plan: Plan) -> None:
    """Raise PortInUse for the first port of the plan that can't be bound."""
    for port, purpose in plan.ports():
        if not is_free(port):
            raise PortInUse(
                f"Port {port} ({purpose}) is in use by {_listener(port)}: "
                "end it, or choose another --port-base."
            )


def is_free(port: int) -> bool:
    """Whether a server could bind it now."""
    with socket.socket() as probe:
        # As servers do: connections of an ended server that linger are not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _listener(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, OSError):
        return "another process"
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "another process"
