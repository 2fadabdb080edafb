import json

import psycopg
import pytest
from django.db import DatabaseError, DataError, Error, IntegrityError, OperationalError

from gateway.errors import database_problem, sqlstate


def django_error(kind: type[Error], state: str | None, message: str = "secret value") -> Error:
    """An error as Django raises it: the driver's is its cause."""
    cause = psycopg.errors.lookup(state)(message) if state else psycopg.OperationalError(message)
    error = kind(message)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("kind", "state", "status", "problem_type"),
    [
        (IntegrityError, "23505", 409, "duplicate"),
        (IntegrityError, "23503", 409, "broken-reference"),
        (IntegrityError, "23514", 422, "invalid-data"),
        (DataError, "22003", 422, "invalid-data"),
        (OperationalError, "40001", 503, "busy"),
        (OperationalError, "40P01", 503, "busy"),
        (OperationalError, "53100", 503, "storage-full"),
        (OperationalError, "53300", 503, "database-unavailable"),
        (OperationalError, "57P01", 503, "database-unavailable"),
        (OperationalError, "08006", 503, "database-unavailable"),
        (OperationalError, None, 503, "database-unavailable"),
    ],
)
def test_what_the_database_says_becomes_a_problem_without_its_words(
    kind: type[Error], state: str | None, status: int, problem_type: str
) -> None:
    response = database_problem(django_error(kind, state))
    assert response is not None
    assert response.status_code == status
    assert json.loads(response.content)["type"].endswith(f":{problem_type}")
    assert b"secret" not in response.content
    assert ("Retry-After" in response) == (status == 503)


def test_a_connection_lost_during_the_commit_is_not_called_a_failure() -> None:
    response = database_problem(django_error(OperationalError, None), committing=True)
    assert response is not None
    assert json.loads(response.content)["type"].endswith(":outcome-unknown")
    assert "Retry-After" not in response


def test_a_programming_error_is_left_to_the_server_error_handler() -> None:
    assert database_problem(django_error(DatabaseError, "42P01")) is None


def test_nothing_of_the_message_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    database_problem(django_error(IntegrityError, "23505"))
    assert "23505" in caplog.text
    assert "secret" not in caplog.text


def test_the_error_code_is_found_on_the_cause() -> None:
    assert sqlstate(django_error(IntegrityError, "23505")) == "23505"
    assert sqlstate(DatabaseError("no cause")) is None
