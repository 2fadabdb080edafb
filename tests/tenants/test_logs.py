"""Log records and SQL name their tenant."""

from __future__ import annotations

import io
import logging
import logging.handlers
import queue
import re
from dataclasses import replace
from urllib.parse import quote, unquote
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import example, given
from hypothesis import strategies as st

from desk.models import Tag
from regions import cells
from regions.deployment import APP_ROLE
from tenants.backend.context import CellContext, sql_comment
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.logs import stamp_records, tag_error_report
from tenants.work import LONGEST, current_label, label, working_on
from testkit.client import TenantClient
from testkit.control import forget_maps, publish_maps

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
    with tenant_scope(ACME):
        assert b"/*tenant='acme'*/" in CellContext("c", APP_ROLE, bytes(32)).prefix().text
        settings.MERIDIAN_SQL_COMMENTS = False
        assert b"/*" not in CellContext("c", APP_ROLE, bytes(32)).prefix().text


HOSTILE = ["*/ DROP TABLE x; /*", "a'b", "a\\' b", "a%b%s", "ü\n--", "$$ $x$", "\0", "\ud800"]
COMMENT = re.compile(rb"/\*route='([A-Za-z0-9_.~%/-]*)',tenant='([A-Za-z0-9_.~%/-]*)'\*/")


@given(route=st.text(), slug=st.text())
@example(route="tickets/<int:id>", slug="acme")
@example(route=HOSTILE[0], slug=HOSTILE[2])
def test_a_comment_can_not_be_left(route, slug):
    found = COMMENT.fullmatch(sql_comment(slug, label("route", route)))
    assert found
    for part, text in zip(found.groups(), (route, slug), strict=True):
        written = quote(text, errors="replace")
        assert unquote(part.decode()) == unquote(written[:LONGEST])


def test_the_server_reads_every_comment_as_one(postgres_url):
    with psycopg.connect(postgres_url("eu-west"), autocommit=True) as session:
        for text in HOSTILE:
            message = sql_comment(text, label("route", text)) + b"SELECT 'whole'"
            answer = session.pgconn.exec_(message)
            assert answer.get_value(0, 0) == b"whole"


def activity(deployment, pid: int) -> str:
    with cells.administrator(deployment, "eu-west") as admin:
        found = admin.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (pid,))
        return found.fetchone()[0]


def test_a_requests_statements_name_its_route_and_not_its_path(pair, deployment, settings):
    settings.MERIDIAN_REGION = "eu-west"
    publish_maps(deployment)
    seen = []

    def look(execute, sql, params, many, context):
        answer = execute(sql, params, many, context)
        seen.append(activity(deployment, context["connection"].connection.info.backend_pid))
        return answer

    tenant = pair[0]
    with tenant_scope(tenant), connection.execute_wrapper(look):
        user = User.objects.create_superuser("routed")
        try:
            client = TenantClient(tenant)
            client.force_login(user)
            seen.clear()
            client.get("/admin/desk/ticket/nobodys*%2F';--/change/")
        finally:
            user.delete()
            forget_maps(deployment)
    wanted = "/*route='admin/desk/ticket/%3Cpath%3Aobject_id%3E/change/',tenant='" + tenant.slug
    assert any(wanted in text for text in seen)
    assert not any("nobodys" in text for text in seen if "route=" in text)


def test_work_that_is_over_labels_nothing():
    with tenant_scope(ACME), working_on(lambda: label("task", "desk.tidy")):
        assert current_label() == b"task='desk.tidy',"
    assert current_label() == b""
