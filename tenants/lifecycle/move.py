"""Takes a tenant to another cell while it is in use: other mode, regions or write policy.

Guarantees that bad input and unlawful places change nothing, that each row is in every replica
of the target and each file in its store before the tenant is, that no acknowledged write is lost,
and that a move which stops before its decision leaves the tenant working where it was. The tenant
works while its rows are copied, and pauses from the fence to the flip, for what changed meanwhile;
`move_recover` ends what was killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import Error as DjangoError
from psycopg import Error as PostgresError

from regions.cli import one_line
from regions.errors import RegionsError
from regions.topology import TenancyMode
from tenants.claim import claim
from tenants.databases import control_writer_alias
from tenants.errors import MoveFailed, TenantsError
from tenants.files import transfer as files
from tenants.files.places import home_of
from tenants.isolation.base import Progress
from tenants.lifecycle.create_cell import make
from tenants.lifecycle.move_compare import require_equal
from tenants.lifecycle.move_contents import Content, count_rows, read_contents, require_same_shape
from tenants.lifecycle.move_decision import flip, wait_until_safe
from tenants.lifecycle.move_ledger import carry_ledger
from tenants.lifecycle.move_plan import MovePlan, plan_move
from tenants.lifecycle.move_recover import (
    busy,
    clean_source,
    clear,
    end_broken_moves,
    take_back,
)
from tenants.lifecycle.move_rows import Copied, copy_changes, copy_rows
from tenants.lifecycle.move_sequences import advance_sequences
from tenants.lifecycle.move_side import Side, open_side
from tenants.lifecycle.move_tasks import carry_tasks
from tenants.lifecycle.states import change_state
from tenants.lifecycle.usable import wait_until_usable
from tenants.models import Move, Tenant
from tenants.seams import find_tenant, record_for

STOPPED = (DjangoError, PostgresError, OSError, RegionsError, TenantsError, KeyboardInterrupt)
COPIED_SECONDS = 3600.0  # until the target's replicas have the first copy: nobody waits for it
ROUNDS = 5
FEW = 500  # rows that changed: the pause is hardly longer for them
CLOCKS_DIFFER = timedelta(seconds=5)  # a file store's and ours


@dataclass(frozen=True, slots=True)
class MoveReport:
    """`pause_ms`: from the fence until every region served the tenant in its new cell."""

    tenant: Tenant
    source: str
    target: str
    rows: int
    pause_ms: float


def preview_move(
    slug: str,
    *,
    cell: str | None = None,
    mode: str | None = None,
    regions: Sequence[str] | None = None,
    policy: str | None = None,
    residency: str | None = None,
) -> MovePlan:
    """What `move` would do; raises what it would raise before anything is changed."""
    using = control_writer_alias()
    tenant = find_tenant(slug, using=using)
    plan = plan_move(
        tenant,
        cell=cell,
        mode=mode,
        regions=regions,
        policy=policy,
        residency=residency,
        using=using,
    )
    _require_reachable(tenant, plan)
    return plan


def move(
    slug: str,
    *,
    cell: str | None = None,
    mode: str | None = None,
    regions: Sequence[str] | None = None,
    policy: str | None = None,
    residency: str | None = None,
    actor: str,
    progress: Progress,
) -> MoveReport:
    """Raises ResidencyDenied, InvalidRequest … before anything is changed, and MoveFailed after
    that, saying where the tenant is. Repeating it is safe."""
    using = control_writer_alias()
    find_tenant(slug, using=using)
    with claim(slug, busy(slug)):
        tenant = find_tenant(slug, using=using)
        came_from = _unfinished_source(tenant, using=using)
        end_broken_moves(tenant, actor=actor, progress=progress)
        tenant = find_tenant(slug, using=using)
        if came_from and cell == tenant.cell_id:
            return MoveReport(tenant, came_from, cell, 0, 0.0)
        plan = plan_move(
            tenant,
            cell=cell,
            mode=mode,
            regions=regions,
            policy=policy,
            residency=residency,
            using=using,
        )
        _require_reachable(tenant, plan)
        return _carry_out(tenant, plan, actor=actor, progress=progress)


def _carry_out(tenant: Tenant, plan: MovePlan, *, actor: str, progress: Progress) -> MoveReport:
    using = control_writer_alias()
    pending = Move(
        tenant=tenant, source=plan.source.name, target=plan.target.name, target_made=plan.new
    )
    pending.save(using=using, force_insert=True)
    try:
        carried_at = _prepare(tenant, plan, actor=actor, progress=progress)
        rows, began = _bring_over(tenant, plan, carried_at, actor=actor, progress=progress)
    except STOPPED as error:
        raise _stopped(tenant, pending, error, actor=actor, progress=progress) from error
    try:
        moved = find_tenant(tenant.slug, using=using)
        wait_until_safe(using)
        progress("waiting until every region serves it", 92)
        wait_until_usable(moved.slug, record_for(moved).hosts[0], plan.target)
        pause = (time.monotonic() - began) * 1000
        progress("removing what is left in the old cell", 96)
        clean_source(moved, pending, actor=actor, progress=progress)
    except STOPPED as error:
        raise MoveFailed(
            f"Tenant {tenant.slug!r} is in cell {plan.target.name!r} now, but what is left in "
            f"{plan.source.name!r} was not removed: {one_line(error)}. "
            "Repeat the command once that is mended."
        ) from error
    progress("moved", 100)
    return MoveReport(moved, plan.source.name, plan.target.name, rows, round(pause, 1))


def _prepare(tenant: Tenant, plan: MovePlan, *, actor: str, progress: Progress) -> datetime:
    """The target's tables, and the files as they were when this returns, while the tenant is in
    use."""
    if plan.new:
        make(plan.target, actor=actor, progress=_share(progress, 0, 30))
    elif plan.target.mode is not TenancyMode.DEDICATED or _has_tables(tenant, plan):
        clear(tenant, plan.target, progress=progress)
    with open_side(tenant, plan.target) as new:
        new.isolation.prepare_tenant(new.tenant, _share(progress, 30, 45))
        new.empty()
    carried_at = datetime.now(UTC) - CLOCKS_DIFFER
    files.carry(tenant.id, home_of(plan.source), home_of(plan.target))
    return carried_at


def _bring_over(
    tenant: Tenant, plan: MovePlan, carried_at: datetime, *, actor: str, progress: Progress
) -> tuple[int, float]:
    """Copies, then from the fence to the decision; returns the rows and when the pause began."""
    using = control_writer_alias()
    with open_side(tenant, plan.source) as old, open_side(tenant, plan.target) as new:
        contents = _contents(old, new)
        copied = _copy_in_use(old, new, contents, progress)
        progress("closing the old place", 75)
        began = time.monotonic()
        active = Tenant.State.ACTIVE.value
        change_state(
            tenant.slug, Tenant.State.MOVING.value, verb="move_begin", actor=actor, when=(active,)
        )
        old.freeze()
        old.settle([old.home])
        progress("bringing over what changed meanwhile", 80)
        if _contents(old, new) != contents:
            raise MoveFailed("the cells' tables were changed meanwhile: move it again")
        copy_changes(old, new, contents, copied)
        carry_ledger(old, new, contents)
        carry_tasks(old, new)
        advance_sequences(new, contents)
        files.carry(tenant.id, home_of(plan.source), home_of(plan.target), since=carried_at)
        new.settle(list(new.spec.regions))
        progress("comparing every replica", 85)
        rows = require_equal(old, new, contents)
        new.thaw()
        progress("deciding", 90)
        flip(tenant, plan, actor=actor, using=using)
    return rows, began


def _contents(old: Side, new: Side) -> list[Content]:
    contents = read_contents(old.sessions[old.home], old.tenant.schema)
    require_same_shape(contents, read_contents(new.sessions[new.home], new.tenant.schema))
    return contents


def _copy_in_use(old: Side, new: Side, contents: list[Content], progress: Progress) -> Copied:
    """All rows, and the changes of the time that it took, again and again until they are few; each
    replica of the target has them when this returns."""
    expected = max(count_rows(old.sessions[old.home], old, contents), 1)

    def passed(rows: int) -> None:
        share = min(100 * rows // expected, 100)
        progress(f"rows: {share} %", 45 + share * 20 // 100)

    copied = copy_rows(old, new, contents, passed)
    for _ in range(ROUNDS):
        new.settle(list(new.spec.regions), seconds=COPIED_SECONDS)
        progress("rows that changed meanwhile", 70)
        copied = copy_changes(old, new, contents, copied)
        if copied.rows <= FEW:
            break
    return copied


def _stopped(
    tenant: Tenant, pending: Move, error: BaseException, *, actor: str, progress: Progress
) -> MoveFailed:
    """Takes the move back, unless it was decided."""
    using = control_writer_alias()
    reason = one_line(error).rstrip(".")
    again = f"run `tenant resume {tenant.slug}`"
    try:
        now = find_tenant(tenant.slug, using=using)
        if now.cell_id == pending.target:
            return MoveFailed(f"Tenant {tenant.slug!r} has moved, but {reason}: {again}.")
        take_back(now, pending, actor=actor, progress=progress)
    except STOPPED as another:
        return MoveFailed(
            f"Moving {tenant.slug!r} stopped: {reason}. Taking it back failed too "
            f"({one_line(another)}): {again} once that is mended."
        )
    return MoveFailed(
        f"Moving {tenant.slug!r} stopped: {reason}. It works in cell {pending.source!r} as "
        "before, and nothing of the move remains."
    )


def _require_reachable(tenant: Tenant, plan: MovePlan) -> None:
    for spec in (plan.source,) if plan.new else (plan.source, plan.target):
        try:
            with open_side(tenant, spec):
                pass
        except MoveFailed as error:
            raise MoveFailed(f"Nothing was changed: {error}.") from error


def _has_tables(tenant: Tenant, plan: MovePlan) -> bool:
    with open_side(tenant, plan.target) as new:
        return any(read_contents(session, new.tenant.schema) for session in new.sessions.values())


def _unfinished_source(tenant: Tenant, *, using: str) -> str | None:
    """Where a move came from that was decided and not cleaned up after."""
    decided = Move.objects.using(using).filter(tenant=tenant, target=tenant.cell_id).first()
    return decided.source if decided else None


def _share(progress: Progress, low: int, high: int) -> Progress:
    """The part of the whole between two percentages."""
    return lambda step, percent: progress(step, low + (high - low) * percent // 100)
