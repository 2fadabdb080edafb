"""A cell that an earlier version made is secured again: its check, its key, and what is frozen."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from regions.deployment import Deployment
from tenants.backend.context import sign_context
from tenants.directory import TenantRecord
from tenants.isolation import tenancy
from tenants.isolation.owner import Connection, owner
from tenants.seams import cell_spec
from tests.tenants.conftest import HOME

# A context was an HMAC, made of two hashes over the key and its pads.
EARLIER = """
ALTER TABLE tenancy.secret
    ADD COLUMN inner_pad bytea NOT NULL DEFAULT '', ADD COLUMN outer_pad bytea NOT NULL DEFAULT '';
CREATE OR REPLACE FUNCTION tenancy.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN encode(sha256(s.outer_pad || sha256(s.inner_pad || substr(convert_to(
                 current_setting('meridian.context', true), 'UTF8'), 1, 47))), 'hex')
             = split_part(current_setting('meridian.context', true), '.', 3)
        THEN split_part(current_setting('meridian.context', true), '.', 1)::uuid
    END FROM tenancy.secret s;
END;
ALTER TABLE tenancy.secret DROP COLUMN context_key, DROP COLUMN lock_key;
INSERT INTO tenancy.frozen (tenant) VALUES (gen_random_uuid())
"""
PADS = "UPDATE tenancy.secret SET inner_pad = %s, outer_pad = %s"
COLUMNS = """
SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
 WHERE attrelid = 'tenancy.secret'::regclass AND attnum > 0 AND NOT attisdropped
"""


@pytest.fixture
def key(control: Deployment, shared_pair: tuple[TenantRecord, TenantRecord]) -> bytes:
    return control.context_key(shared_pair[0].cell)


@pytest.fixture
def earlier(key: bytes, shared_pair: tuple[TenantRecord, TenantRecord]) -> Iterator[Connection]:
    """The owner's session in a transaction in which the cell is as that version made it."""
    padded = key.ljust(64, b"\0")
    with (
        owner(cell_spec(shared_pair[0].cell), HOME) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute(EARLIER)
        pads = (bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded))
        connection.execute(PADS, pads)
        yield connection


def ask(connection: Connection, context: str) -> str:
    with connection.transaction():
        connection.execute(f"SET LOCAL meridian.context = '{context}'")
        row = connection.execute("SELECT tenancy.current_tenant()::text").fetchone()
    return str(row and row[0])


def test_a_cell_that_trusted_another_signature_is_secured_by_installing_again(
    earlier: Connection, key: bytes
):
    tenant, expiry = uuid4(), int(time.time()) + 60
    claim = f"{tenant}.{expiry}"
    before = f"{claim}.{hmac.digest(key, claim.encode(), 'sha256').hex()}"
    assert ask(earlier, before) == str(tenant)
    for _ in range(2):
        tenancy.install(earlier, key)
        assert ask(earlier, sign_context(key, tenant, expiry)) == str(tenant)
        with pytest.raises(psycopg.Error) as refused:
            ask(earlier, before)
        assert refused.value.sqlstate == "MTN01"
    assert earlier.execute(COLUMNS).fetchone() == (
        ["context_key", "lock_key", "one", "some_frozen"],
    )


def test_who_had_left_the_cell_stays_out_when_it_is_secured_again(earlier: Connection, key: bytes):
    gone, expiry = uuid4(), int(time.time()) + 60
    earlier.execute("INSERT INTO tenancy.frozen (tenant) VALUES (%s)", (gone,))
    tenancy.install(earlier, key)
    with pytest.raises(psycopg.Error) as refused:
        ask(earlier, sign_context(key, gone, expiry))
    assert refused.value.sqlstate == "MDF01"
