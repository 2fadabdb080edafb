"""`manage.py residency` on real servers with onboarded tenants."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from psycopg import sql

from regions import cells
from regions.deployment import Deployment
from tenants.directory import TenantRecord

Pair = tuple[TenantRecord, TenantRecord]


def run(*arguments: str) -> tuple[int, Any, str]:
    """Exit status, document and the one line of a refusal."""
    out = io.StringIO()
    try:
        call_command("residency", *arguments, "--json", stdout=out)
    except CommandError as refusal:
        document = json.loads(out.getvalue()) if out.getvalue() else None
        return refusal.returncode, document, str(refusal)
    return 0, json.loads(out.getvalue()), ""


def check(tenant: str, region: str, operation: str, *more: str) -> tuple[int, Any, str]:
    return run("check", tenant, "--region", region, "--operation", operation, *more)


def test_r01_a_write_through_an_unlawful_region_is_refused_with_the_document(shared_pair: Pair):
    slug = shared_pair[0].slug
    status, document, refusal = check(slug, "us-east", "route")
    assert status == 1
    assert document["tenant"] == slug
    assert document["policy"] == "EU"
    assert document["verdict"] == "deny"
    assert document["allowed"] is False
    assert "R01" in document["rules"]
    assert document["references"]
    assert document["data_version"]
    assert "R01" in refusal
    assert "\n" not in refusal


def test_a_lawful_region_is_answered_with_status_0(shared_pair: Pair):
    status, document, _ = check(shared_pair[0].slug, "eu-central", "failover")
    assert (status, document["allowed"], document["verdict"]) == (0, True, "allow")


def test_a_question_about_another_day_is_a_question_about_that_days_law(shared_pair: Pair):
    status, document, _ = check(shared_pair[0].slug, "eu-west", "place", "--at", "1970-01-01")
    assert status == 1
    assert document["allowed"] is False


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("nobody", "us-east"), "nobody"), (("acme-shared", "mars"), "mars")],
)
def test_an_unknown_name_is_one_line_and_no_document(shared_pair: Pair, arguments, named):
    status, document, refusal = check(*arguments, "place")
    assert (status, document) == (1, None)
    assert named in refusal


def test_policies_lists_where_each_tenant_may_be(shared_pair: Pair):
    _, document, _ = run("policies")
    regions = {entry["tenant"]: entry["lawful_regions"] for entry in document}
    assert regions[shared_pair[0].slug] == ["eu-west", "eu-central"]


def test_p01_the_audit_finds_a_cell_copied_to_a_forbidden_region(
    control: Deployment, shared_pair: Pair
):
    database = f"cell_{shared_pair[0].cell.replace('-', '_')}"
    _, before, _ = run("audit")
    about = [
        f for f in before["findings"] if database in f["what"] or shared_pair[0].slug in f["what"]
    ]
    assert about == []
    assert before["checked"]["regions"] == 3
    assert before["checked"]["channels"] > 0
    with cells.administrator(control, "us-east") as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    try:
        status, after, refusal = run("audit")
    finally:
        with cells.administrator(control, "us-east") as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
    found = [f for f in after["findings"] if database in f["what"]]
    assert status == 1
    assert [(f["rule"], f["where"]) for f in found] == [("P01", "us-east")]
    assert found[0]["remedy"]
    assert refusal
