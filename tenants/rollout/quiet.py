"""Quiet around a change that drops, renames or narrows in several replicas.

A change that was written before it must not arrive after it. Where one region writes, its locks
keep writers out, and what they had written is waited for. Where every region writes, the tenants
are kept out of all of them for that moment, as in a move.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

from regions import cells
from regions.current import deployment
from regions.replication.settle import settle
from regions.topology import CellSpec
from tenants.isolation import fence
from tenants.isolation.owner import Connection
from tenants.rollout.units import Unit

SETTLE_SECONDS = 20.0


@contextmanager
def quiet(
    unit: Unit, sessions: dict[str, Connection], home: str, *, wanted: bool
) -> Iterator[Callable[[], None]]:
    """Yields what to call once the home's locks are held. Does nothing unless `wanted`."""
    if not wanted:
        yield lambda: None
        return
    with ExitStack() as stack:
        # The sessions of the migration are in a transaction by then; these are not.
        beside = {
            region: stack.enter_context(
                cells.administrator(deployment(), region, unit.spec.database)
            )
            for region in sessions
        }
        senders = [home] if unit.spec.policy.leased else list(sessions)

        def settled() -> None:
            settle(
                beside,
                cell=unit.spec.name,
                senders=senders,
                receivers=[
                    region for region in sessions if region not in senders or len(senders) > 1
                ],
                tenant=unit.tenant_id,
                seconds=SETTLE_SECONDS,
                patient=True,
            )

        if unit.spec.policy.leased:
            yield settled
            return
        tenants = [unit.tenant_id] if unit.tenant_id else [each.id for each in unit.sharers]
        try:
            for session in beside.values():
                for tenant in tenants:
                    fence.put_up(session, tenant)
            fence.wait_for_those_in_flight(list(beside.values()))
            settled()
            yield lambda: None
        finally:
            for session in beside.values():
                for tenant in tenants:
                    fence.take_down(session, tenant)


def end_quiet(spec: CellSpec, tenants: Collection[UUID]) -> None:
    """Open the doors of these tenants again, wherever they are closed."""
    for region in spec.regions:
        with cells.administrator(deployment(), region, spec.database) as session:
            for tenant in tenants:
                fence.take_down(session, tenant)
