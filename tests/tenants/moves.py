"""What tests of moves share: a tenant with rows in every table, and what remains of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import Group, Permission, User
from django.db import transaction

from desk.models import Comment, Customer, Tag, Ticket
from regions import cells
from regions.deployment import Deployment
from regions.models import Cell
from regions.topology import database_name
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.models import AuditEntry, Move, Tenant
from tenants.seams import find_tenant, record_for
from tests.tenants.conftest import EU, onboard, silent

MODELS = (Customer, Tag, Ticket, Comment, Ticket.tags.through, User, Group, User.groups.through)


def fresh(places: dict[str, str], mode: str) -> TenantRecord:
    slug = f"mv{uuid4().hex[:8]}"
    tenant = onboard(slug, mode, **({"cell": places[mode]} if mode in places else {}))
    fill(record_for(tenant))
    return record_for(tenant)


def fill(tenant: TenantRecord) -> None:
    """In two transactions: each one wakes whatever reads the servers' logs."""
    with tenant_scope(tenant):
        with transaction.atomic(using=Ticket.objects.db):
            _write_first()
        with transaction.atomic(using=Ticket.objects.db):
            Ticket.objects.filter(votes=3).delete()
            Ticket.objects.filter(votes=4).update(votes=400)
            user = User.objects.create_user("ann", "ann@example.org", "a secret of hers")
            user.groups.add(Group.objects.get(name="agents"))


def _write_first() -> None:
    customers = [
        Customer.objects.create(name=f"Näme\t\\{i}", email=f"c{i}@example.org") for i in range(7)
    ]
    tags = [Tag.objects.create(name=name) for name in ("billing", "urgent\n", "ünïcode")]
    for i in range(40):
        customer = customers[i % 7] if i % 5 else None
        ticket = Ticket.objects.create(title=f"t{i}", body="x\\n" * i, customer=customer, votes=i)
        ticket.tags.set(tags[: i % 4])
        Comment.objects.create(ticket=ticket, author="ann", body=f"about {i}")
    group = Group.objects.create(name="agents")
    group.permissions.set(Permission.objects.all()[:3])


def content(tenant: TenantRecord) -> dict[str, list[Any]]:
    with tenant_scope(tenant):
        return {
            model.__name__: list(model.objects.order_by("pk").values_list()) for model in MODELS
        }


def now(tenant: TenantRecord) -> TenantRecord:
    return record_for(find_tenant(tenant.slug))


def move(tenant: TenantRecord, **where: Any) -> Any:
    return lifecycle.move(tenant.slug, **where, actor="test", progress=silent)


def target_of(places: dict[str, str], mode: str) -> dict[str, Any]:
    return {"cell": places[mode]} if mode in places else {"mode": mode, "regions": EU}


def leftovers(deployment: Deployment, tenant: TenantRecord) -> dict[str, int]:
    """What each replica of the cell in the record still has of the tenant."""
    found = {}
    for region in EU:
        with cells.administrator(deployment, region) as admin:
            exists = admin.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (database_name(tenant.cell),)
            ).fetchone()
        if exists is None:
            continue
        with cells.administrator(deployment, region, database_name(tenant.cell)) as admin:
            if tenant.mode == "schema":
                schema = admin.execute("SELECT to_regnamespace(%s)", (tenant.schema,)).fetchone()
                found[f"{region} schema"] = int(schema != (None,))
            if tenant.mode == "shared":
                for model in MODELS:
                    table = model._meta.db_table
                    row = admin.execute(
                        f"SELECT count(*) FROM public.{table} WHERE tenant_id = %s", (tenant.id,)
                    ).fetchone()
                    found[f"{region} {table}"] = row[0] if row else 0
            for log in ("change", "tombstone", "conflict"):
                row = admin.execute(
                    f"SELECT count(*) FROM fabric.{log} WHERE tenant = %s", (tenant.id,)
                ).fetchone()
                found[f"{region} {log}"] = row[0] if row else 0
    return {what: count for what, count in found.items() if count}


@contextmanager
def nothing_changes(tenant: TenantRecord) -> Iterator[None]:
    def state() -> list[Any]:
        return [
            Tenant.objects.filter(id=tenant.id).values().get(),
            Cell.objects.count(),
            Move.objects.count(),
            AuditEntry.objects.count(),
            content(now(tenant)),
        ]

    before = state()
    yield
    assert state() == before
