"""Where a new tenant goes: a cell of its mode in exactly the regions that its law allows.

Decides and changes nothing. Raises InvalidRequest or ResidencyDenied, so that a request that
can't be met costs nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from regions import residency
from regions.current import deployment
from regions.models import Cell, Replica
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tenants.errors import InvalidRequest
from tenants.models import Tenant
from tenants.seams import unknown_cell

NAME = re.compile(r"^[a-z](-?[a-z0-9])*$")
MAX_NAME = 40
OWN_CELL = re.compile(r"d-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Placement:
    """The cell, whether it must be made first, and the residency policy that chose it. `seeded`:
    a tenant of it starts with rows."""

    spec: CellSpec
    new: bool
    residency: str
    seeded: bool = False


def choose(
    *,
    mode: str,
    cell: str | None,
    residency_text: str | None,
    policy: str | None,
    regions: Sequence[str] | None,
    using: str,
) -> Placement:
    """The cell for a tenant. One that is `new` may be half made: whoever began it was stopped."""
    wanted_mode = parse_mode(mode)
    wanted_policy = parse_policy(policy) if policy else None
    if cell is not None:
        return _given_cell(cell, wanted_mode, wanted_policy, residency_text, regions, using=using)
    named = known_regions(regions) if regions else ()
    text = residency_text or _default_residency(named or tuple(deployment().regions))
    lawful = require_lawful(text, named) if named else lawful_regions(text)
    wanted = wanted_policy or WritePolicy.ACTIVE_PASSIVE
    if wanted_mode is TenancyMode.DEDICATED:
        name = own_cell_name()
    else:
        candidates = [
            (state != Cell.State.READY, spec, seeded)
            for spec, state, seeded in _registered(using, cell__mode=mode, cell__policy=wanted)
            if state != Cell.State.SPARE and set(spec.regions) == set(lawful)
        ]
        if candidates:
            new, spec, seeded = min(candidates, key=lambda candidate: candidate[0])
            return Placement(spec, new=new, residency=text, seeded=seeded)
        name = _free_name(_family(text, mode), using=using)
    return Placement(CellSpec(name, wanted_mode, wanted, lawful), new=True, residency=text)


def own_cell_name() -> str:
    """For a cell that is made for one tenant. It is its databases' too, which every role of a
    cluster can list: it says nothing of a customer."""
    return f"d-{secrets.token_hex(6)}"


def is_own_cell(name: str) -> bool:
    """Whether the cell was made for one tenant, and not by hand."""
    return OWN_CELL.fullmatch(name) is not None


def lawful_regions(text: str) -> tuple[str, ...]:
    """The deployment's regions where this policy allows data to be placed. Raises
    ResidencyDenied, naming the rule, when there is none."""
    parsed = residency.parse_policy(text)
    sites = deployment().regions.values()
    places = [residency.Destination.of(site) for site in sites]
    at = datetime.now(UTC)
    lawful = residency.lawful_regions(parsed, residency.Operation.PLACE, places, at)
    if not lawful:
        residency.require(parsed, residency.Operation.PLACE, places[0], at=at)
    return lawful


def require_lawful(
    text: str,
    names: Sequence[str],
    operation: residency.Operation = residency.Operation.PLACE,
) -> tuple[str, ...]:
    """The same names, if the policy allows each. Raises ResidencyDenied, naming the rule."""
    parsed = residency.parse_policy(text)
    for name in names:
        place = residency.Destination.of(deployment().region(name))
        residency.require(parsed, operation, place, at=datetime.now(UTC))
    return tuple(names)


def known_regions(names: Sequence[str]) -> tuple[str, ...]:
    """Raises UnknownRegion or InvalidRequest."""
    for name in names:
        deployment().region(name)
    if len(set(names)) != len(names):
        raise InvalidRequest(f"A region is named twice: {', '.join(names)}.")
    if not names:
        raise InvalidRequest("A cell needs at least one region.")
    return tuple(names)


def parse_mode(mode: str) -> TenancyMode:
    modes = [m.value for m in TenancyMode if m is not TenancyMode.CONTROL]
    if mode not in modes:
        raise InvalidRequest(f"{mode!r} is no tenancy mode. Choose one of: {', '.join(modes)}.")
    return TenancyMode(mode)


def parse_policy(policy: str) -> WritePolicy:
    known = ", ".join(WritePolicy)
    if policy not in known.split(", "):
        raise InvalidRequest(f"{policy!r} is no write policy. Choose one of: {known}.")
    return WritePolicy(policy)


def check_name(name: str, what: str) -> None:
    if not NAME.match(name) or len(name) > MAX_NAME:
        raise InvalidRequest(
            f"{name!r} can't be a {what}: use at most {MAX_NAME} lower-case letters, digits and "
            "single hyphens, starting with a letter."
        )


def _given_cell(
    name: str,
    mode: TenancyMode,
    policy: WritePolicy | None,
    residency_text: str | None,
    regions: Sequence[str] | None,
    *,
    using: str,
) -> Placement:
    found = _registered(using, cell=name)
    if not found:
        raise unknown_cell(name, using=using)
    ((spec, state, seeded),) = found
    if state != Cell.State.READY:
        raise InvalidRequest(f"Cell {name!r} is not ready yet.")
    if spec.mode is not mode:
        raise InvalidRequest(f"Cell {name!r} is of mode {spec.mode}, not {mode}.")
    if policy is not None and spec.policy is not policy:
        raise InvalidRequest(f"Cell {name!r} is {spec.policy}, not {policy}.")
    if regions is not None and set(regions) != set(spec.regions):
        raise InvalidRequest(f"Cell {name!r} is in {', '.join(spec.regions)}.")
    if mode is TenancyMode.DEDICATED and _has_tenant(name, using=using):
        raise InvalidRequest(f"Cell {name!r} is dedicated and has its tenant already.")
    text = residency_text or _default_residency(spec.regions)
    require_lawful(text, spec.regions)
    return Placement(spec, new=False, residency=text, seeded=seeded)


def _registered(using: str, **where: Any) -> list[tuple[CellSpec, str, bool]]:
    """Cells, their states, and whether they have a seed; by name, in one query: the registry may
    be an ocean away."""
    rows = Replica.objects.using(using).filter(**where).order_by("cell", "priority", "region")
    wanted = ("cell__name", "cell__mode", "cell__policy", "cell__state", "cell__has_seed")
    found = []
    for (name, mode, policy, state, seeded), replicas in groupby(
        rows.values_list(*wanted, "region"), key=lambda row: row[:5]
    ):
        regions = tuple(row[5] for row in replicas)
        spec = CellSpec(name, TenancyMode(mode), WritePolicy(policy), regions)
        found.append((spec, state, seeded))
    return found


def _has_tenant(cell: str, *, using: str) -> bool:
    tenants = Tenant.objects.using(using).filter(cell=cell)
    return tenants.exclude(state=Tenant.State.ERASED).exists()


def _default_residency(regions: Sequence[str]) -> str:
    """The strictest default of the tenant's home, which is the first region."""
    return residency.default_policy(deployment().region(regions[0]).country)


def _family(text: str, mode: str) -> str:
    """`EU` and `shared` → `eu-shared`, for all tenants that the same law binds."""
    place = "global" if text.upper() == "UNRESTRICTED" else text.lower().replace(":", "-")
    return f"{re.sub(r'[^a-z0-9-]+', '-', place)}-{mode}"


def _free_name(base: str, *, using: str) -> str:
    taken = set(Cell.objects.using(using).values_list("name", flat=True))
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 1000))
    return next(name for name in names if name not in taken)
