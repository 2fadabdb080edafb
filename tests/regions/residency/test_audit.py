"""The audit's judgement, and the audit of real servers."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest
from psycopg import sql

from regions import inventory
from regions.deployment import ADMIN_ROLE, Deployment
from regions.residency import Destination, parse_policy
from regions.residency.audit import CellFacts, Channel, ClusterFacts, audit

TODAY = date(2026, 11, 23)
IRELAND = Destination("eu-west", "IE", "EU")
VIRGINIA = Destination("us-east", "US", "US")
ACME = CellFacts(
    name="acme",
    database="cell_acme",
    regions=("eu-west", "eu-central"),
    policies={"acme": parse_policy("EU")},
    channels={
        "eu-west": frozenset({"cell_acme_to_eu_central", "cell_acme_from_eu_central"}),
        "eu-central": frozenset({"cell_acme_to_eu_west", "cell_acme_from_eu_west"}),
    },
)
USUAL = ("postgres", "template0", "template1")


def judge(cluster, cells=(ACME,)):
    return [(f.rule, f.where) for f in audit([cluster], cells, at=TODAY)]


def test_a_replica_with_its_own_slots_is_no_finding():
    slot = Channel("slot", "cell_acme_to_eu_central", "cell_acme")
    subscription = Channel("subscription", "cell_acme_from_eu_central", "cell_acme")
    cluster = ClusterFacts(IRELAND, (*USUAL, "cell_acme"), (slot, subscription))
    assert judge(cluster) == []


@pytest.mark.parametrize("database", ["cell_acme", "acme_copy"])
def test_p01_a_database_in_a_forbidden_region_is_found(database):
    cluster = ClusterFacts(VIRGINIA, (*USUAL, database))
    assert judge(cluster) == [("P01", "us-east")]


def test_p01_a_lawful_region_without_a_registered_replica_is_found():
    elsewhere = Destination("eu-north", "SE", "EU")
    assert judge(ClusterFacts(elsewhere, ("cell_acme",))) == [("P01", "eu-north")]


@pytest.mark.parametrize(
    ("channel", "rule"),
    [
        (Channel("slot", "cell_acme_to_us_east", "cell_acme"), "P02"),
        (Channel("slot", "spy", "cell_acme", "test_decoding"), "P02"),
        (Channel("slot", "standby", None, None), "P01"),
        (Channel("subscription", "by_hand", "cell_acme"), "P02"),
    ],
)
def test_p02_a_slot_or_subscription_that_serves_no_lawful_peer_is_found(channel, rule):
    cluster = ClusterFacts(IRELAND, ("cell_acme",), (channel,))
    assert judge(cluster) == [(rule, "eu-west")]


def test_m05_a_tightened_policy_lists_the_replicas_that_it_forbids_now():
    tightened = CellFacts(
        "acme", "cell_acme", ACME.regions, {"acme": parse_policy("DE")}, ACME.channels
    )
    cluster = ClusterFacts(IRELAND, ("cell_acme",))
    assert judge(cluster, [tightened]) == [("P01", "eu-west"), ("M05", "eu-west")]


def test_g01_a_region_that_does_not_answer_is_a_finding_not_a_pass():
    assert judge(ClusterFacts(VIRGINIA, error="connection refused")) == [("G01", "us-east")]


def test_p01_a_cell_copied_by_hand_is_found_on_a_real_server(deployment: Deployment):
    admin_dsn = deployment.dsn("us-east", "postgres", ADMIN_ROLE)
    # Its own names, so that what other tests have on these clusters is not judged here.
    cell = CellFacts(
        "by-hand",
        "cell_by_hand",
        ("eu-west",),
        {"acme": parse_policy("EU")},
        {"eu-west": frozenset()},
    )

    def found() -> list[str]:
        facts = inventory.read_cluster(deployment, "us-east")
        return [f.rule for f in audit([facts], [cell], at=TODAY) if "cell_by_hand" in f.what]

    name = sql.Identifier("cell_by_hand")
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        assert found() == []
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            assert found() == ["P01"]
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
    assert found() == []


def test_p02_a_slot_made_by_hand_is_found_on_a_real_server(deployment: Deployment):
    with psycopg.connect(
        deployment.dsn("us-east", "postgres", ADMIN_ROLE), autocommit=True
    ) as admin:
        admin.execute("SELECT pg_create_logical_replication_slot('spy', 'test_decoding')")
        try:
            facts = inventory.read_cluster(deployment, "us-east")
        finally:
            admin.execute("SELECT pg_drop_replication_slot('spy')")
    rules = [f.rule for f in audit([facts], [], at=TODAY) if "slot spy" in f.what]
    assert rules == ["P02"]
