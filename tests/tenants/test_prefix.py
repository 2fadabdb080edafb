"""What goes in front of a statement is kept by the connection, and is never another's."""

from __future__ import annotations

from unittest import mock
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions.deployment import APP_ROLE
from tenants.backend.context import RENEW_SECONDS, CellContext, tenant_of
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import NoTenantError, WrongTenantError
from tenants.fencing import Claim, fenced_by
from tenants.limits.values import Limits
from tenants.work import label, working_on


def a_tenant(number: int, *, schema: str = "public", limit: int | None = None) -> TenantRecord:
    return TenantRecord(
        id=UUID(int=number), slug=f"t{number}", cell="c", mode="shared", schema=schema,
        state="active", residency="EU", token_generation=1, hosts=(),
        limits=Limits(statement_ms=limit),
    )  # fmt: skip


# The second is the first after the directory has changed; the fifth the fourth's equal.
TENANTS = [
    a_tenant(1),
    a_tenant(1, limit=500),
    a_tenant(2, schema="t_2"),
    a_tenant(3),
    a_tenant(3),
]
LABELS = [b"", label("route", "notes/"), label("task", "send")]
CLAIMS = [None, *(Claim(UUID(int=n), "job", m) for n in (1, 3) for m in (1, 2))]
STEPS = st.tuples(
    st.sampled_from(TENANTS),
    st.sampled_from(LABELS),
    st.sampled_from(CLAIMS),
    st.integers(-2 * RENEW_SECONDS, 2 * RENEW_SECONDS),
)


@given(st.lists(STEPS, min_size=2, max_size=12))
def test_a_connection_in_use_sends_what_a_new_one_would(steps):
    used, now = CellContext("c", APP_ROLE, bytes(32)), 2_000_000_000.0
    for tenant, named, claim, later in steps:
        now += later
        with (
            mock.patch("time.time", lambda at=now: at),
            tenant_scope(tenant),
            working_on(lambda named=named: named),
            fenced_by(claim),
        ):
            sent, new = used.prefix(), CellContext("c", APP_ROLE, bytes(32)).prefix()
        assert tenant_of(sent.text.decode()) == tenant.id
        assert sent == new


def test_nothing_is_kept_for_who_is_not_in_scope():
    used = CellContext("c", APP_ROLE, bytes(32))
    with tenant_scope(TENANTS[0]):
        used.prefix()
    with pytest.raises(NoTenantError):
        used.prefix()
    elsewhere = CellContext("d", APP_ROLE, bytes(32))
    with tenant_scope(TENANTS[0]), pytest.raises(WrongTenantError):
        elsewhere.prefix()
