"""Real clusters: settings in force, and a log that holds no row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from infra.postgres.cluster import why_not_ready
from regions.deployment import Deployment
from tests.settings import TEST_PLAN


def test_every_region_has_a_cluster_of_its_own(
    deployment: Deployment, postgres_url: Callable[..., str]
) -> None:
    identifiers = set()
    for region in deployment.regions:
        with psycopg.connect(postgres_url(region)) as connection:
            row = connection.execute(
                "SELECT system_identifier, current_setting('wal_level'), version()"
                " FROM pg_control_system()"
            ).fetchone()
        assert row is not None
        assert row[1] == "logical"
        identifiers.add(row[0])
    assert len(identifiers) == 3


def test_a_wrong_password_is_refused(postgres_url: Callable[..., str]) -> None:
    reason = why_not_ready(postgres_url("eu-west").replace("postgres:", "postgres:not-", 1))
    assert reason is not None
    assert "password authentication failed" in reason


def test_a_failed_statement_leaves_no_row_in_the_log(postgres_url: Callable[..., str]) -> None:
    with psycopg.connect(postgres_url("eu-west"), autocommit=True) as connection:
        connection.execute("CREATE TABLE secret (email text PRIMARY KEY)")
        connection.execute("INSERT INTO secret VALUES ('ada@example.org')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO secret VALUES (%s)", ["ada@example.org"])
        connection.execute("DROP TABLE secret")
    log = Path(TEST_PLAN.logs / "eu-west-postgres.log").read_text()
    assert "secret_pkey" in log
    assert "ada@example.org" not in log
