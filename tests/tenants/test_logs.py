"""Log records and SQL name their tenant."""

from __future__ import annotations

import io
import logging
import logging.handlers
import queue
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import connection

from desk.models import Tag
from regions import cells
from regions.deployment import APP_ROLE
from tenants.backend.context import CellContext, _cached_prefix, sql_comment
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.logs import stamp_records, tag_error_report

ACME = TenantRecord(
    id=uuid4(), slug="acme", cell="c", mode="shared", schema="public", state="active",
    residency="EU", token_generation=1, hosts=("acme.localhost",),
)  # fmt: skip


@pytest.fixture
def foreign():
    """A third-party logger with a handler and a format of its own."""
    logger = logging.getLogger(f"somebody.else.{uuid4().hex}")
    logger.propagate = False
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(tenant)s %(tenant_id)s %(message)s"))
    logger.addHandler(handler)
    return logger, text, handler


def test_a_strangers_logger_names_the_tenant(foreign):
    logger, text, _ = foreign
    with tenant_scope(ACME):
        logger.warning("in")
    logger.warning("out")
    assert text.getvalue() == f"acme {ACME.id} in\n- - out\n"


def test_a_record_names_the_tenant_that_was_in_scope_when_it_was_made(foreign):
    logger, text, handler = foreign
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger.handlers = [logging.handlers.QueueHandler(waiting)]
    with tenant_scope(ACME):
        logger.warning("made here")
    with tenant_scope(replace(ACME, slug="globex")):
        handler.handle(waiting.get())
    assert text.getvalue().startswith("acme ")


def test_stamping_twice_changes_nothing():
    before = logging.getLogRecordFactory()
    stamp_records()
    assert logging.getLogRecordFactory() is before


def test_an_error_report_names_the_opaque_id_and_no_user():
    event = {"user": {"email": "ann@example.org"}, "tags": {"x": "y"}}
    with tenant_scope(ACME):
        report = tag_error_report(event)
    assert report == {"tags": {"x": "y", "tenant": str(ACME.id)}}


def test_statements_on_the_server_name_their_tenant(pair, deployment):
    """As an operator sees them in pg_stat_activity and in the server's log."""
    for tenant in pair:
        with tenant_scope(tenant):
            Tag.objects.count()
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()[0]
        with cells.administrator(deployment, "eu-west") as admin:
            row = admin.execute(
                "SELECT query FROM pg_stat_activity WHERE pid = %s", (pid,)
            ).fetchone()
        assert f"/*tenant='{tenant.slug}'*/" in row[0]


def test_the_comment_can_be_switched_off(settings):
    cell = CellContext("c", APP_ROLE, b"key")
    with tenant_scope(ACME):
        assert b"/*tenant='acme'*/" in cell.prefix().text
        settings.MERIDIAN_SQL_COMMENTS = False
        _cached_prefix.cache_clear()
        assert b"/*" not in cell.prefix().text
    _cached_prefix.cache_clear()


@pytest.mark.parametrize("slug", ["*/ DROP TABLE x; /*", "a'b", "a\\b", "a%b", "ü"])
def test_a_comment_can_not_be_left(slug):
    text = sql_comment(slug)
    assert text.startswith("/*tenant='")
    assert text.endswith("'*/")
    assert not set(text[len("/*tenant='") : -len("'*/")]) & set("*/'\\;%ü")
