import json
import logging
import sys
from uuid import UUID

from config.logs import JsonFormatter, without_values
from tenants.context import tenant_scope
from tenants.directory import TenantRecord

ACME = TenantRecord(
    UUID(int=1), "acme", "eu", "shared", "public", "active", "EU", 1, ("acme.localhost",)
)


def formatted(message: str, *args: object, error: BaseException | None = None) -> dict[str, object]:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.getLogRecordFactory()("desk", logging.WARNING, "", 1, message, args, info)
    document: dict[str, object] = json.loads(JsonFormatter("eu-west").format(record))
    return document


def test_a_record_names_the_region_and_the_tenant_in_context() -> None:
    with tenant_scope(ACME):
        document = formatted("moved %s", "on")
    assert document["region"] == "eu-west"
    assert document["tenant"] == "acme"
    assert document["message"] == "moved on"


def test_outside_a_scope_a_record_names_no_tenant() -> None:
    assert formatted("hello")["tenant"] is None


def test_a_record_is_one_line_even_with_a_traceback() -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        record = logging.getLogRecordFactory()(
            "desk", logging.ERROR, "", 1, "a\nb", (), sys.exc_info()
        )
    assert "\n" not in JsonFormatter("eu-west").format(record)


def test_row_values_that_postgresql_quotes_are_withheld() -> None:
    text = (
        'duplicate key value violates unique constraint "email"\n'
        "DETAIL:  Key (email)=(ada@example.org) already exists.\n"
        "LINE 1: INSERT INTO customer VALUES ('ada@example.org')\n"
        "                                     ^"
    )
    assert "ada" not in without_values(text)
    assert "unique constraint" in without_values(text)
