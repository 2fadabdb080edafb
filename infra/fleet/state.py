"""The state folder of a fleet: which one is meant, what was chosen for it, one launcher at a time.

`<repository>/.meridian` names the active folder, so that commands find the fleet without any
variable. Where MERIDIAN_DIR names a folder, that one is meant and no pointer is written.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import FleetError, NotRunning, PlanError
from infra.fleet.plan import DEFAULT_PORT_BASE, Plan, make_plan

REPOSITORY = Path(__file__).resolve().parents[2]
POINTER = REPOSITORY / ".meridian"
CHOICES = "fleet.json"
DEFAULT_REGIONS = 3


def chosen_folder(named: Path | None, variables: Mapping[str, str]) -> Path:
    """The folder that a command means: named, else MERIDIAN_DIR, else the active, else .fleet."""
    if named is not None:
        return named.expanduser().resolve()
    if variables.get("MERIDIAN_DIR"):
        return Path(variables["MERIDIAN_DIR"]).resolve()
    try:
        active = POINTER.read_text().strip()
    except FileNotFoundError:
        active = ""
    return Path(active) if active else REPOSITORY / ".fleet"


def make_folder(state: Path) -> None:
    """Others may pass through (PostgreSQL's account must), but not look around."""
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o711)
    (state / "logs").mkdir(exist_ok=True)
    (state / "logs").chmod(0o700)
    regions = state / "regions"
    regions.mkdir(exist_ok=True)
    regions.chmod(0o711)


def point_to(state: Path, variables: Mapping[str, str]) -> None:
    """Make this the active fleet."""
    if not variables.get("MERIDIAN_DIR"):
        beside = POINTER.with_suffix(".tmp")
        beside.write_text(f"{state}\n")
        beside.rename(POINTER)


def point_away(state: Path) -> None:
    """This fleet is not the active one any more."""
    if POINTER.exists() and POINTER.read_text().strip() == str(state):
        POINTER.unlink()


def saved_plan(state: Path) -> Plan:
    """The plan of the fleet in this folder. Raises NotRunning when there is none."""
    try:
        saved = json.loads((state / CHOICES).read_text())
    except FileNotFoundError:
        raise NotRunning(f"There is no fleet in {state}: start one with `make up`.") from None
    return make_plan(
        state,
        regions=saved["regions"],
        port_base=saved["port_base"],
        data=Path(saved["data"]),
        etcd=saved.get("etcd", ()),
    )


def settle_plan(
    state: Path,
    data: Path,
    *,
    regions: int | None,
    port_base: int | None,
    etcd: Sequence[str] = (),
) -> Plan:
    """The plan of an old or new fleet. A fleet keeps its regions, its ports and who grants its
    leases for life."""
    if (state / CHOICES).exists():
        plan = saved_plan(state)
        asked = (
            regions or len(plan.regions),
            port_base or plan.port_base,
            tuple(etcd or plan.etcd),
        )
        if asked != (len(plan.regions), plan.port_base, plan.etcd):
            store = ", ".join(plan.etcd) or "PostgreSQL"
            raise PlanError(
                f"The fleet in {state} has {len(plan.regions)} regions from port "
                f"{plan.port_base}, and leases in {store}: `down --purge` it first, or choose "
                "another --dir."
            )
        return plan
    return make_plan(
        state,
        regions=DEFAULT_REGIONS if regions is None else regions,
        port_base=DEFAULT_PORT_BASE if port_base is None else port_base,
        data=data,
        etcd=etcd,
    )


def save(plan: Plan) -> None:
    """Keep what was chosen for this fleet."""
    choices: dict[str, Any] = {
        "regions": len(plan.regions),
        "port_base": plan.port_base,
        "data": str(plan.data),
        "etcd": plan.etcd,
    }
    write_json(plan.state / CHOICES, choices)


def write_json(path: Path, document: Any, *, mode: int = 0o644) -> None:
    """Replace a document as a whole."""
    beside = path.with_name(f"{path.name}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
    beside.rename(path)


@contextmanager
def only_launcher(state: Path) -> Iterator[None]:
    """Hold the folder for one command that starts or ends servers."""
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FleetError(
                f"Another fleet command is at work in {state}: wait until it has ended."
            ) from None
        yield
