"""Moves between cells: the same content, nothing left, nobody else touched, nothing lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import StringIO
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.db import Error, connections, transaction

from desk.models import Comment, Customer, Tag, Ticket
from regions import cells
from regions.deployment import APP_ROLE, Deployment
from regions.errors import ResidencyDenied, UnknownCell
from regions.models import Cell
from regions.replication import verify
from tenants import lifecycle
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import InvalidRequest, MoveFailed, TenantNotActive, UnknownTenant
from tenants.lifecycle.create_cell import create_cell
from tenants.lifecycle.move_side import Side, record_in
from tenants.models import AuditEntry, Move, Tenant
from tenants.seams import cell_spec, find_tenant, record_for
from tests.tenants.appliers import applying
from tests.tenants.conftest import HOME, MODES, onboard, silent

# The package shows the verb under the module's name.
moving = import_module("tenants.lifecycle.move")
EU = ["eu-west", "eu-central"]
MODELS = (Customer, Tag, Ticket, Comment, Ticket.tags.through, User, Group, User.groups.through)
PAIRS = [(one, other) for one in MODES for other in MODES if one != other]


@pytest.fixture(scope="module", autouse=True)
def appliers(control: Deployment) -> Iterator[None]:
    with applying(control, HOME, "mv"):
        yield


@pytest.fixture(scope="module")
def places(control: Deployment) -> dict[str, str]:
    """Cells by mode, a second shared one, and one in the United States."""
    made = {}
    for key, mode, regions in (
        ("shared", "shared", EU),
        ("schema", "schema", EU),
        ("other", "shared", EU),
        ("us", "shared", ["us-east"]),
    ):
        made[key] = f"mv-{key}"
        create_cell(
            made[key],
            mode=mode,
            regions=regions,
            policy="active_active",
            actor="test",
            progress=silent,
        )
    return made


def fresh(places: dict[str, str], mode: str) -> TenantRecord:
    slug = f"mv{uuid4().hex[:8]}"
    tenant = onboard(slug, mode, **({"cell": places[mode]} if mode in places else {}))
    fill(record_for(tenant))
    return record_for(tenant)


def fill(tenant: TenantRecord) -> None:
    with tenant_scope(tenant):
        customers = [
            Customer.objects.create(name=f"Näme\t\\{i}", email=f"c{i}@example.org")
            for i in range(7)
        ]
        tags = [Tag.objects.create(name=name) for name in ("billing", "urgent\n", "ünïcode")]
        for i in range(40):
            customer = customers[i % 7] if i % 5 else None
            ticket = Ticket.objects.create(
                title=f"t{i}", body="x\\n" * i, customer=customer, votes=i
            )
            ticket.tags.set(tags[: i % 4])
            Comment.objects.create(ticket=ticket, author="ann", body=f"about {i}")
        Ticket.objects.filter(votes=3).delete()
        Ticket.objects.filter(votes=4).update(votes=400)
        group = Group.objects.create(name="agents")
        group.permissions.set(Permission.objects.all()[:3])
        user = User.objects.create_user("ann", "ann@example.org", "a secret of hers")
        user.groups.add(group)


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


def database(cell: str) -> str:
    return "cell_" + cell.replace("-", "_")


def leftovers(deployment: Deployment, tenant: TenantRecord) -> dict[str, int]:
    """What each replica of the cell in the record still has of the tenant."""
    found = {}
    for region in EU:
        with cells.administrator(deployment, region) as admin:
            exists = admin.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (database(tenant.cell),)
            ).fetchone()
        if exists is None:
            continue
        with cells.administrator(deployment, region, database(tenant.cell)) as admin:
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


@pytest.mark.parametrize(("source", "target"), [*PAIRS, ("shared", "other")])
def test_a_move_brings_every_row_and_leaves_nothing(
    deployment: Deployment, places: dict[str, str], source: str, target: str
):
    neighbour, tenant = fresh(places, source), fresh(places, source)
    beside = content(neighbour)
    before = content(tenant)
    report = move(tenant, **target_of(places, target))
    moved = now(tenant)
    assert (moved.state, moved.cell) == ("active", report.target)
    assert moved.mode == ("shared" if target == "other" else target)
    assert content(moved) == before
    assert report.rows == sum(map(len, before.values())) + 3  # and the group's permissions
    assert leftovers(deployment, tenant) == {}
    assert content(neighbour) == beside
    for cell in {moved.cell, neighbour.cell}:
        assert verify.compare(deployment, cell_spec(cell))["differences"] == []
    if source == "dedicated":
        assert not Cell.objects.filter(name=tenant.cell).exists()
    with tenant_scope(moved):
        assert Ticket.objects.create(title="after").pk not in {row[0] for row in before["Ticket"]}
        for model in (Customer, Tag, Comment, User, Group):
            last = connections[model.objects.db].cursor()
            last.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [model._meta.db_table])
            assert last.fetchone()[0] > max(row[0] for row in before[model.__name__])
    assert AuditEntry.objects.filter(verb="move", subject=tenant.slug, actor="test").count() == 1
    assert not Move.objects.filter(tenant_id=tenant.id).exists()


def test_a_tenant_can_come_back_to_a_cell_that_it_left(
    deployment: Deployment, places: dict[str, str]
):
    tenant = fresh(places, "shared")
    before = content(tenant)
    move(tenant, cell=places["schema"])
    move(tenant, cell=places["shared"])
    assert content(now(tenant)) == before
    with tenant_scope(now(tenant)):
        Ticket.objects.create(title="again at home")
    assert verify.compare(deployment, cell_spec(places["shared"]))["differences"] == []


def test_an_unlawful_target_is_refused_naming_the_rule_and_nothing_changes(
    places: dict[str, str],
):
    tenant = fresh(places, "shared")
    for where in (
        {"cell": places["us"]},
        {"mode": "dedicated", "regions": ["us-east"]},
        {"mode": "schema", "regions": [*EU, "us-east"]},
        {"cell": places["us"], "residency": "DE"},
        {"cell": places["other"], "residency": "DE"},
    ):
        with nothing_changes(tenant), pytest.raises(ResidencyDenied, match="M01"):
            move(tenant, **where)


def test_residency_is_asked_before_anything_else(places: dict[str, str]):
    tenant = fresh(places, "shared")
    lifecycle.suspend(tenant.slug, actor="test")
    with pytest.raises(ResidencyDenied, match="M01"):
        move(tenant, cell=places["us"])
    with pytest.raises(TenantNotActive, match="suspended"):
        move(tenant, cell=places["other"])


def test_a_policy_is_replaced_with_the_move_that_it_allows(places: dict[str, str]):
    tenant = fresh(places, "shared")
    move(tenant, mode="dedicated", regions=["eu-central"], residency="DE")
    assert now(tenant).residency == "DE"
    assert cell_spec(now(tenant).cell).regions == ("eu-central",)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({"cell": "nowhere"}, UnknownCell),
        ({"mode": "communal"}, InvalidRequest),
        ({"cell": "mv-shared"}, InvalidRequest),
        ({}, InvalidRequest),
        ({"cell": "mv-other", "mode": "shared"}, InvalidRequest),
        ({"mode": "dedicated", "policy": "anarchy"}, InvalidRequest),
    ],
)
def test_bad_input_changes_nothing(places: dict[str, str], where: dict, error: type[Exception]):
    tenant = fresh(places, "shared")
    with nothing_changes(tenant), pytest.raises(error):
        move(tenant, **where)
    with pytest.raises(UnknownTenant):
        lifecycle.move("nobody-there", cell=places["other"], actor="test", progress=silent)


def test_a_stale_process_can_neither_write_nor_read_in_the_old_place(places: dict[str, str]):
    tenant = fresh(places, "shared")
    refused = []

    def late(step: str, percent: int) -> None:
        if step.startswith("rows"):
            refused.append(_refusal(tenant))

    lifecycle.move(tenant.slug, cell=places["other"], actor="test", progress=late)
    refused.append(_refusal(tenant))
    assert len(refused) > 2
    assert set(refused) == {"MDF01"}
    with tenant_scope(now(tenant)):
        assert not Ticket.objects.filter(title="late").exists()


def _refusal(stale: TenantRecord) -> str | None:
    for attempt in (lambda: Ticket.objects.create(title="late"), lambda: Ticket.objects.count()):
        with tenant_scope(stale), pytest.raises(Error) as caught:
            attempt()
        state: str | None = getattr(caught.value.__cause__, "sqlstate", None)
    return state


def test_a_transaction_that_began_before_is_waited_for_and_its_rows_come_along(
    places: dict[str, str], monkeypatch
):
    tenant = fresh(places, "shared")
    steps = []
    freeze = Side.freeze

    def freeze_during_a_write(side):
        began, release = threading.Event(), threading.Event()

        def write():
            with tenant_scope(tenant):
                alias = Ticket.objects.db
                try:
                    with transaction.atomic(using=alias):
                        Ticket.objects.create(title="in flight")
                        began.set()
                        release.wait(5)
                finally:
                    connections[alias].close()

        writer = threading.Thread(target=write)
        writer.start()
        began.wait(5)
        threading.Timer(0.3, release.set).start()
        freeze(side)
        steps.append(release.is_set())
        writer.join()

    monkeypatch.setattr(Side, "freeze", freeze_during_a_write)
    move(tenant, cell=places["other"])
    assert steps == [True]
    with tenant_scope(now(tenant)):
        assert Ticket.objects.filter(title="in flight").count() == 1


@pytest.mark.parametrize("target", ["other", "schema", "dedicated"])
@pytest.mark.parametrize("broken", ["copy_rows", "_compare", "_flip"])
def test_a_move_that_fails_leaves_the_tenant_usable_where_it_was(
    deployment: Deployment, places: dict[str, str], monkeypatch, broken: str, target: str
):
    tenant = fresh(places, "shared")
    before, cells_before = content(tenant), Cell.objects.count()
    original = getattr(moving, broken)

    def fails(*args: Any, **options: Any) -> Any:
        if broken == "_compare":
            original(*args, **options)
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(moving, broken, fails)
        with pytest.raises(MoveFailed, match=r"the disk is full.*works in cell 'mv-shared'"):
            move(tenant, **target_of(places, target))
    assert now(tenant) == tenant
    assert content(tenant) == before
    assert Cell.objects.count() == cells_before
    with tenant_scope(tenant):
        Ticket.objects.create(title="still here")
        before = content(tenant)
    if target == "other":
        moved = record_in(tenant, cell_spec(places["other"]))
        assert leftovers(deployment, moved) == {}
    move(tenant, **target_of(places, target))
    assert content(now(tenant)) == before


def test_a_move_that_was_killed_is_ended_by_resume_or_by_repeating_it(
    deployment: Deployment, places: dict[str, str], monkeypatch
):
    class Killed(BaseException):
        """Nothing catches it, as nothing catches SIGKILL."""

    def dies(*args: Any, **options: Any) -> None:
        raise Killed

    tenant = fresh(places, "shared")
    before = content(tenant)
    for step in ("copy_rows", "_flip"):
        with monkeypatch.context() as patch:
            patch.setattr(moving, step, dies)
            with pytest.raises(Killed):
                move(tenant, cell=places["schema"])
        assert now(tenant).state == "moving"
        with pytest.raises(TenantNotActive, match="tenant resume"):
            lifecycle.erase(tenant.slug, actor="test", progress=silent)
        if step == "copy_rows":
            assert lifecycle.resume(tenant.slug, actor="test").state == "active"
            assert content(now(tenant)) == before
            assert not Move.objects.filter(tenant_id=tenant.id).exists()
    with monkeypatch.context() as patch:
        patch.setattr(moving, "clean_source", dies)
        with pytest.raises(Killed):
            move(tenant, cell=places["schema"])
    assert (now(tenant).cell, now(tenant).state) == (places["schema"], "active")
    assert leftovers(deployment, tenant) != {}
    assert move(tenant, cell=places["schema"]).target == places["schema"]
    assert leftovers(deployment, tenant) == {}
    assert content(now(tenant)) == before


def test_two_moves_of_one_tenant_do_not_run_at_once(places: dict[str, str]):
    tenant = fresh(places, "shared")
    seen = []

    def again(step: str, percent: int) -> None:
        if not seen:
            seen.append(step)
            with pytest.raises(TenantNotActive, match="another process"):
                move(tenant, cell=places["schema"])

    lifecycle.move(tenant.slug, cell=places["other"], actor="test", progress=again)
    assert seen


def run(*words: str) -> dict[str, Any]:
    out = StringIO()
    call_command("tenant", "move", *words, "--json", stdout=out, stderr=StringIO())
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def test_the_command_says_what_it_would_do_and_does_it(places: dict[str, str]):
    tenant = fresh(places, "shared")
    with nothing_changes(tenant):
        plan = run(tenant.slug, "--mode", "dedicated", "--dry-run")
    assert (plan["to"], plan["new_cell"], plan["regions"]) == (tenant.slug, True, EU)
    done = run(tenant.slug, "--mode", "dedicated")
    assert (done["cell"], done["mode"], done["state"]) == (tenant.slug, "dedicated", "active")
    assert done["pause_ms"] > 0
    back = run(tenant.slug, "--cell", places["shared"])
    assert back["rows"] == done["rows"]
    with pytest.raises(CommandError, match="M01"):
        run(tenant.slug, "--cell", places["us"])


def test_the_application_role_cannot_take_a_fence_down(
    deployment: Deployment, places: dict[str, str]
):
    dsn = deployment.dsn(HOME, database(places["shared"]), APP_ROLE)
    with (
        psycopg.connect(dsn) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute("DELETE FROM tenancy.frozen")
