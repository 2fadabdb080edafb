"""Records what brings one tenant's tables about, so that it can be done again for another.

Guarantees that the statements of Django's migrations and of the platform are kept in the order in
which they ran, that they run as one message and in one transaction, and that another tenant's name
and id stand wherever the first one's stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import ClientCursor
from psycopg.abc import Params

from tenants.isolation.owner import Connection

# They read, or move within a transaction: nothing to do again.
_NOT_REPLAYED = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK", "SHOW")
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|CALL|DO)\b", re.IGNORECASE)
# What was checked at a commit then is checked here now: a table with pending checks can't be
# altered.
_CHECK = "SET CONSTRAINTS ALL IMMEDIATE;\nSET CONSTRAINTS ALL DEFERRED"
_APPLIED = 'INSERT INTO "django_migrations" ("app", "name", "applied") VALUES '
_APPLIES = re.compile(re.escape(_APPLIED) + r'(\(.*\)) RETURNING "django_migrations"\."id"')
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_RANDOM = re.compile(r"t_[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Script:
    """`text` was run in `schema` for `tenant` (None: for tables that tenants share)."""

    text: str
    schema: str
    tenant: UUID | None

    @property
    def portable(self) -> bool:
        """Whether the names in it can't mean anything but its schema and its tenant."""
        return self.schema == "public" or bool(_RANDOM.fullmatch(self.schema))

    def for_tenant(self, schema: str, tenant: UUID | None) -> str:
        """The same statements in another schema and for another tenant."""
        if not _PLAIN.fullmatch(schema) or (self.schema == "public") != (schema == "public"):
            raise ValueError(f"A script of schema {self.schema!r} can't run in {schema!r}.")
        if (self.tenant is None) != (tenant is None):
            raise ValueError("Shared tables and a tenant's own are made in different ways.")
        text = self.text
        if schema != "public":
            text = text.replace(self.schema, schema)
        return text if tenant is None else text.replace(str(self.tenant), str(tenant))


class Recording:
    """Statements in the order in which they ran, except that what was migrated is noted once, at
    the end: it is all or nothing when it is played."""

    def __init__(self) -> None:
        self._statements: list[str] = []
        self._applied: list[str] = []

    @property
    def statements(self) -> Sequence[str]:
        return tuple(self._statements)

    @property
    def text(self) -> str:
        noted = [_APPLIED + ",\n".join(self._applied)] if self._applied else []
        return ";\n".join([*self._statements, *noted])

    def add(self, statement: str) -> None:
        """Keeps a statement that changes something, its parameters merged."""
        statement = statement.strip().rstrip(";")
        if not statement or statement.upper().startswith(_NOT_REPLAYED):
            return
        if applied := _APPLIES.fullmatch(statement):
            self._applied.append(applied[1])
            return
        if self._statements and _WRITES.search(self._statements[-1]) and not _is_write(statement):
            self._statements.append(_CHECK)
        self._statements.append(statement)

    @contextmanager
    def of_django(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """What Django runs on `connection` within the block."""

        def record(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
            cursor = context["cursor"].cursor
            for values in params if many else [params]:
                self.add(cursor.mogrify(sql, values))
            return execute(sql, params, many, context)

        with connection.execute_wrapper(record):
            yield


class RecordedConnection(psycopg.Connection[Any]):
    """A session whose `execute` is kept in `recording`, if there is one."""

    recording: Recording | None = None

    def execute(
        self, query: Any, params: Params | None = None, **options: Any
    ) -> psycopg.Cursor[Any]:
        if self.recording is not None:
            self.recording.add(ClientCursor(self).mogrify(query, params))
        return super().execute(query, params, **options)


class Overheard:
    """Somebody else's open session, with its `execute` kept in a recording."""

    def __init__(self, session: Connection, recording: Recording) -> None:
        self._session = session
        self._recording = recording

    def execute(
        self, query: Any, params: Params | None = None, **options: Any
    ) -> psycopg.Cursor[Any]:
        self._recording.add(ClientCursor(self._session).mogrify(query, params))
        return self._session.execute(query, params, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def play(connection: Connection, schema: str, text: str) -> None:
    """Everything or nothing, in one message. `connection` commits by itself."""
    path = psycopg.sql.Literal(schema).as_string(connection)
    connection.execute(f"SELECT set_config('search_path', {path}, true);\n{text}".encode())


def _is_write(statement: str) -> bool:
    return statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE", "MERGE"))
