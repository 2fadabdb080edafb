"""What is sent together is one round trip and one transaction: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, IntegrityError, connections, transaction

from regions import cells
from regions.deployment import CONTROL_CELL, Deployment
from tenants import audit
from tenants.databases import CONTROL_ALIAS, together
from tenants.models import AuditEntry, Plan

ACTOR = "together"


@pytest.fixture(autouse=True)
def nothing(control: Deployment) -> Iterator[None]:
    yield
    Plan.objects.filter(name__startswith=ACTOR).delete()
    AuditEntry.objects.filter(actor=ACTOR).delete()


def write(*names: str) -> None:
    with together(CONTROL_ALIAS):
        for name in names:
            audit.record("test", name, actor=ACTOR, using=CONTROL_ALIAS)
            Plan(name=f"{ACTOR}-{name}").save(using=CONTROL_ALIAS, force_insert=True)


def written() -> int:
    return AuditEntry.objects.filter(actor=ACTOR).count()


@contextmanager
def shut(deployment: Deployment) -> Iterator[None]:
    """The control cell takes no writes; who tries hears of it at the commit."""
    with cells.administrator(deployment, "eu-west", CONTROL_CELL) as admin:
        admin.execute("UPDATE fabric.gate SET valid_until = '-infinity'")
        try:
            yield
        finally:
            admin.execute("UPDATE fabric.gate SET valid_until = 'infinity'")


def test_all_of_it_is_there_when_the_block_ends():
    write("a", "b")
    assert written() == 2
    assert not connections[CONTROL_ALIAS].in_atomic_block


def test_an_error_in_the_midst_leaves_nothing_and_a_session_that_works():
    with pytest.raises(IntegrityError):
        write("a", "a", "b")
    assert written() == 0
    write("c")
    assert written() == 1


def test_a_refusal_at_the_commit_is_heard_and_leaves_nothing(control: Deployment):
    with shut(control), pytest.raises(DatabaseError):
        write("a")
    assert written() == 0
    write("c")
    assert written() == 1


def test_what_was_not_about_sql_leaves_nothing_either():
    with pytest.raises(ZeroDivisionError), together(CONTROL_ALIAS):
        audit.record("test", "a", actor=ACTOR, using=CONTROL_ALIAS)
        raise ZeroDivisionError
    assert written() == 0


def test_in_a_transaction_it_ends_with_that():
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=CONTROL_ALIAS):
        write("a")
        assert written() == 1
        raise ZeroDivisionError
    assert written() == 0
