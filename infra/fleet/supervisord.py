"""The configuration of `supervisord`, rendered from the planned processes. Pure.

Nothing starts by itself: the launcher starts stage by stage. What was started is started again
when it ends, unless it was stopped or its region was powered off.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.fleet.processes import ProcessPlan

STOP_SECONDS = 10
POWER_INTERFACE = "infra.fleet.power:make_interface"


def render(state: Path, socket: Path, processes: Iterable[ProcessPlan], *, as_root: bool) -> str:
    """The whole `supervisord.conf`."""
    processes = tuple(processes)
    groups: dict[str, list[str]] = {}
    for process in processes:
        groups.setdefault(process.group, []).append(_program(process))
    sections = [
        _section("unix_http_server", {"file": socket, "chmod": "0700"}),
        _section(
            "supervisord",
            {
                "logfile": state / "logs" / "supervisord.log",
                "logfile_maxbytes": "5MB",
                "logfile_backups": 1,
                "pidfile": state / "supervisord.pid",
                "childlogdir": state / "logs",
                "minfds": 4096,
                **({"user": "root"} if as_root else {}),
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": ("supervisor.rpcinterface:make_main_rpcinterface")},
        ),
        _section("rpcinterface:power", {"supervisor.rpcinterface_factory": POWER_INTERFACE}),
        *(_section(f"program:{_program(process)}", _settings(process)) for process in processes),
        *(
            _section(f"group:{group}", {"programs": ",".join(programs)})
            for group, programs in groups.items()
        ),
    ]
    return "\n".join(sections)


def _program(process: ProcessPlan) -> str:
    return f"{process.group}-{process.name}"


def _settings(process: ProcessPlan) -> dict[str, object]:
    variables = ",".join(f'{name}="{value}"' for name, value in process.environment.items())
    return {
        "process_name": process.name,
        "command": shlex.join(process.command),
        "environment": variables,
        "directory": process.folder,
        "autostart": "false",
        "autorestart": "true",
        "startsecs": 1,
        # A region that lacks something keeps trying: it comes back by itself.
        "startretries": 1000,
        "stopsignal": process.stop_signal,
        "stopwaitsecs": STOP_SECONDS,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": process.log,
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
        **({"user": process.user} if process.user else {}),
    }


def _section(name: str, settings: Mapping[str, object]) -> str:
    lines = (f"{key} = {str(value).replace('%', '%%')}\n" for key, value in settings.items())
    return f"[{name}]\n{''.join(lines)}"
