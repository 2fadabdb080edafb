"""A database that went back in time learns what it has forgotten: promises, and who was erased."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from regions.replication import erasures, install, rewound
from tests.regions.replication.looking import DE, EU, US
from tests.regions.replication.mesh import Mesh

OWNED = """
CREATE TABLE public.owned (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id uuid);
INSERT INTO fabric.relation (rel, key, columns) VALUES ('public.owned', '{id}', '{id,tenant_id}')
"""
VOTES = (
    "SELECT * FROM lease.look(NULL)",
    "SELECT * FROM lease.prepare(ARRAY['c'], ARRAY[1::bigint])",
    "SELECT * FROM lease.accept('{\"c\": [1, 1]}', 'de', '3 s')",
)


@pytest.fixture
def acceptors(mesh: Mesh) -> Iterator[Mesh]:
    for region in (EU, DE, US):
        with mesh.administrator(region) as admin:
            install.become_owner(admin)
            install.install_leases(admin)
    yield mesh
    for region in (EU, DE, US):
        with mesh.administrator(region) as admin:
            admin.execute("DROP SCHEMA lease CASCADE; UPDATE fabric.gate SET trusted_start = NULL")


def test_it_has_no_vote_after_a_start_that_nobody_has_looked_at(acceptors: Mesh) -> None:
    with acceptors.administrator(DE) as admin:
        for vote in VOTES:
            admin.execute(vote.encode())
        admin.execute("UPDATE fabric.gate SET trusted_start = '-infinity'")
        for vote in VOTES:
            with pytest.raises(psycopg.Error, match="this acceptor has no vote"):
                admin.execute(vote.encode())
        admin.execute("UPDATE fabric.gate SET trusted_start = pg_postmaster_start_time()")
        for vote in VOTES:
            admin.execute(vote.encode())


def test_nobody_writes_after_a_start_that_nobody_has_looked_at(mesh: Mesh) -> None:
    def trust(start: str) -> None:
        with mesh.administrator(DE) as admin:
            admin.execute(f"UPDATE fabric.gate SET trusted_start = {start}".encode())

    writer = mesh.writers[DE]
    try:
        trust("'-infinity'")
        with pytest.raises(psycopg.Error, match="may not be written") as refusal:
            mesh.write(DE, "INSERT INTO note (id, title) VALUES (1, 'new')")
        assert "has not been looked at" in (refusal.value.diag.message_hint or "")
        # One that had written before is refused when it commits.
        trust("pg_postmaster_start_time()")
        with pytest.raises(psycopg.Error, match="may not be written"), writer.transaction():
            mesh.write(DE, "INSERT INTO note (id, title) VALUES (1, 'before')")
            trust("'-infinity'")
        trust("pg_postmaster_start_time()")
        mesh.write(DE, "INSERT INTO note (id, title) VALUES (1, 'looked at')")
        assert mesh.rows(DE, "SELECT title FROM note") == [("looked at",)]
    finally:
        trust("NULL")


def test_it_learns_ballots_and_epochs_from_the_others_and_forgets_none_of_its_own(
    acceptors: Mesh,
) -> None:
    put = (
        "INSERT INTO lease.acceptor (cell, promised, ballot, holder, epoch)"
        " VALUES (%s, %s, %s, %s, %s)"
    )
    known = {
        DE: [("a", 5, 5, "de", 2), ("b", 90, 80, "de", 9)],
        EU: [("a", 70, 60, "eu", 4), ("b", 10, 10, "eu", 1)],
        US: [("a", 20, 60, "eu", 4), ("c", 30, 30, "us", 1)],
    }
    for region, promises in known.items():
        with acceptors.administrator(region) as admin:
            for promise in promises:
                admin.execute(put.encode(), promise)
    rewound.learn_promises(acceptors.deployment, acceptors.spec, DE)
    with acceptors.administrator(DE) as here:
        found = here.execute(
            "SELECT cell, promised, ballot, holder, epoch, expires_at = '-infinity'"
            " FROM lease.acceptor ORDER BY cell"
        ).fetchall()
    assert found == [
        ("a", 70, 60, "eu", 4, True), ("b", 90, 80, "de", 9, True), ("c", 30, 30, "us", 1, True)
    ]  # fmt: skip


def test_who_was_erased_since_the_backup_is_erased_in_it(mesh: Mesh) -> None:
    gone, kept = UUID(int=1), UUID(int=2)
    with mesh.administrator(DE) as here, mesh.administrator(EU) as peer:
        here.execute(OWNED)
        for tenant in (gone, kept):
            here.execute("INSERT INTO public.owned (tenant_id) VALUES (%s)", (tenant,))
            here.execute(
                "INSERT INTO fabric.tombstone (rel, pk, stamp, tenant, state)"
                " VALUES ('public.owned', ARRAY[%s], 1, %s, '')", (str(tenant), tenant),
            )  # fmt: skip
        try:
            erasures.forget(peer, gone)
            assert erasures.catch_up(here, [peer]) == {gone}
            for table, column in (("public.owned", "tenant_id"), ("fabric.tombstone", "tenant")):
                left = here.execute(f"SELECT {column} FROM {table}".encode()).fetchall()
                assert left == [(kept,)]
            assert erasures.catch_up(here, [peer]) == set()
        finally:
            here.execute(
                "DROP TABLE public.owned; DELETE FROM fabric.relation WHERE rel = 'public.owned'"
            )
            for session in (here, peer):
                session.execute("DELETE FROM fabric.erased")
