"""What a tenant may still bring back goes with it to another cell."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import connections

from desk.models import Ticket
from regions import cells
from regions.deployment import Deployment
from regions.topology import database_name
from tenants.conflicts.browse import browse
from tenants.conflicts.entries import Wanted
from tenants.conflicts.restore import restore
from tenants.context import tenant_scope
from tests.tenants.conftest import EU
from tests.tenants.moves import fresh, move, now, target_of
from tests.tenants.test_conflicts import AWAY, eventually, everywhere, lose
from tests.tenants.workers import until


@pytest.mark.parametrize(("source", "target"), [("shared", "schema"), ("schema", "other")])
def test_the_ledger_goes_along_and_what_is_restored_stays_so(
    deployment: Deployment, places: dict[str, str], source: str, target: str
):
    """Also what another region of the source has not heard of yet."""
    tenant = fresh(places, source)
    with tenant_scope(tenant):
        first, second = Ticket.objects.order_by("pk").values_list("pk", flat=True)[:2]
        eventually(lambda: None not in everywhere(tenant, second, "title"))
        lose(tenant, first, "lost", "won")
        entry = lose(tenant, second, "brought back", "other")
        restore(UUID(entry["id"]), by="ann")
        before = _known()
    connections.close_all()
    with cells.administrator(deployment, AWAY, database_name(tenant.cell)) as admin:
        admin.execute("SET session_replication_role = replica")
        mine = "DELETE FROM fabric.restored WHERE tenant_id = %s"
        until(lambda: admin.execute(mine, [tenant.id]).rowcount == 1)
    move(tenant, **target_of(places, target))
    moved = now(tenant)
    with tenant_scope(moved):
        after = browse(Wanted(table="desk_ticket")).document()["items"]
        assert _known() == before
        assert all(set(one["recorded_in"]) == set(EU) for one in after)
        (left,) = [one for one in after if one["restored"] is None]
        assert left["key"] == {"id": str(first)}
        assert restore(UUID(left["id"]), by="ann").done
        eventually(lambda: everywhere(moved, first, "title") == {("lost",)})
    connections.close_all()


def _known() -> list[tuple[object, ...]]:
    """Each entry but for its id, and where it is known."""
    items = browse(Wanted(table="desk_ticket")).document()["items"]
    return [
        (one["key"], one["field"], one["rule"], one["loser"], one["winner"], one["restored"])
        for one in items
    ]
