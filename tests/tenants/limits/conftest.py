"""Tenants with limits, and the gate of a region that has a real Valkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tenants.directory import TenantRecord
from tenants.limits.admission import Gate
from tenants.limits.store import DATABASE, Store
from tenants.limits.values import resolve


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that a test makes wait for their server, however busy the machine is: who gives it up
    counts by himself. What happens then has tests of its own."""
    monkeypatch.setattr("tenants.limits.store.PATIENCE_SECONDS", 60.0)


@pytest.fixture
def store(valkey: str) -> Iterator[Store]:
    store = Store(f"{valkey}/{DATABASE}")
    store.client.flushdb()
    yield store
    store.client.close()


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)


@pytest.fixture
def limited() -> Callable[..., TenantRecord]:
    """`limited(rows=5)` is a tenant of its own with this limit."""
    return made


def made(**limits: int) -> TenantRecord:
    slug = f"t{uuid4().hex[:8]}"
    return TenantRecord(
        id=uuid4(),
        slug=slug,
        cell="eu",
        mode="shared",
        schema="public",
        state="active",
        residency="EU",
        token_generation=1,
        hosts=(f"{slug}.localhost",),
        plan="small",
        limits=resolve(limits, {}),
    )
