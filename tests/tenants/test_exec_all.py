"""`tenant exec --all`: one command for many tenants, each by itself."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from desk.models import Tag
from tenants.context import tenant_scope
from tenants.models import Tenant

PRINT_SLUG = "from tenants.context import current_tenant; print(current_tenant().slug)"
ADD_TAG = "from desk.models import Tag; Tag.objects.create(name='by exec')"
FAIL_FOR = """
import os
from tenants.context import current_tenant
slug = current_tenant().slug
print("begins", slug)
if slug == "globex-schema": raise ZeroDivisionError("oh no")
if slug == "globex-shared": os._exit(7)
if slug == "globex-dedicated": os.kill(os.getpid(), 9)
"""


def execute(*words: str) -> tuple[dict, str]:
    """The document, and what the command ended with."""
    out, end = StringIO(), ""
    try:
        call_command("tenant", "exec", "--json", *words, stdout=out, stderr=StringIO())
    except CommandError as error:
        end = str(error)
    return json.loads(out.getvalue() or "{}"), end


@pytest.fixture(scope="module")
def slugs(tenants) -> set[str]:
    return set(Tenant.objects.filter(state="active").values_list("slug", flat=True))


def test_each_tenant_runs_in_its_own_scope(tenants, slugs):
    document, end = execute("--all", "--parallel", "3", "--", "shell", "-v", "0", "-c", PRINT_SLUG)
    assert end == ""
    assert {entry["tenant"]: entry["output"].strip() for entry in document["tenants"]} == {
        slug: slug for slug in slugs
    }
    assert (document["done"], document["failed"]) == (len(slugs), 0)


def test_what_it_writes_is_in_each_tenants_own_tables(tenants):
    document, _ = execute("--all", "--mode", "schema", "--", "shell", "-v", "0", "-c", ADD_TAG)
    assert document["failed"] == 0
    for mode, pair in tenants.items():
        for tenant in pair:
            with tenant_scope(tenant):
                assert Tag.objects.filter(name="by exec").count() == (mode == "schema")
                Tag.objects.filter(name="by exec").delete()


def test_a_failure_of_any_kind_is_its_own_tenants_only(tenants, slugs):
    document, end = execute("--all", "--parallel", "2", "--", "shell", "-v", "0", "-c", FAIL_FOR)
    outcomes = {entry["tenant"]: entry for entry in document["tenants"]}
    failed = {slug: entry["status"] for slug, entry in outcomes.items() if entry["status"]}
    assert failed == {"globex-schema": 1, "globex-shared": 7, "globex-dedicated": -9}
    assert outcomes["globex-schema"]["reason"] == "ZeroDivisionError: oh no"
    assert document["done"] == len(slugs) - 3
    assert end.startswith(f"3 of {len(slugs)} tenants failed: globex-")
    assert all(entry["output"].startswith("begins") for entry in outcomes.values())


def test_only_the_tenants_that_were_asked_for(tenants):
    shared = tenants["shared"][0]
    document, _ = execute("--all", "--mode", "shared", "--cell", shared.cell, "--", "check")
    assert {entry["cell"] for entry in document["tenants"]} == {shared.cell}
    Tenant.objects.filter(slug=shared.slug).update(state="suspended")
    try:
        active, _ = execute("--all", "--cell", shared.cell, "--", "check")
        closed, _ = execute("--all", "--cell", shared.cell, "--state", "suspended", "--", "check")
    finally:
        Tenant.objects.filter(slug=shared.slug).update(state="active")
    assert shared.slug not in {entry["tenant"] for entry in active["tenants"]}
    assert {entry["tenant"] for entry in closed["tenants"]} == {shared.slug}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all"], "Say which command"),
        (["acme-shared"], "Say which command"),
        (["--all", "--parallel", "0", "--", "check"], "At least one"),
        (["--all", "--state", "erased", "--", "check"], "no state to run in"),
        (["--all", "--cell", "nowhere", "--", "check"], "No tenant is like that"),
        (["nobody", "--", "check"], "No tenant is called"),
    ],
)
def test_what_makes_no_sense_is_said(tenants, words, said):
    document, end = execute(*words)
    assert said in end
    assert document == {}


def test_people_see_a_table_and_what_each_printed(tenants):
    out, err = StringIO(), StringIO()
    words = ("--all", "--mode", "dedicated", "--", "shell", "-v", "0", "-c", PRINT_SLUG)
    call_command("tenant", "exec", *words, stdout=out, stderr=err)
    assert "── acme-dedicated\nacme-dedicated" in out.getvalue()
    assert "outcome" in out.getvalue()
    assert "[1/" in err.getvalue()


def test_the_parent_can_go_on_with_its_database(tenants):
    execute("--all", "--mode", "shared", "--", "check")
    assert Tenant.objects.count() > 0
    with tenant_scope(tenants["shared"][0]):
        Tag.objects.count()
