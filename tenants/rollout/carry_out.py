"""Carries one unit from its starting point to this code, in all its replicas.

Guarantees that a part of structure is in every replica or in none (a crash between two commits is
levelled by the next run), that rows are changed once a tenant, and that what drops or narrows
waits until nothing written before it is under way. A part that fails is rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import psycopg
from django.db import connections, transaction

from tenants.context import tenant_scope
from tenants.isolation.base import protect
from tenants.rollout import rows
from tenants.rollout.marks import marks_of
from tenants.rollout.quiet import quiet
from tenants.rollout.render import run_operations
from tenants.rollout.sessions import Sessions, told_of, trying, writer_of
from tenants.rollout.steps import Kind, Part
from tenants.rollout.templates import Templates
from tenants.rollout.units import Route, Unit, Work

RETRY_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Manner:
    """`lock_timeout` in seconds: so long may others queue up behind a change of structure."""

    lock_timeout: float
    attempts: int


class Carrier:
    """One worker. Use it in one thread only, and close it."""

    def __init__(self, templates: Templates, manner: Manner) -> None:
        self._templates = templates
        self._manner = manner
        self._sessions = Sessions()

    def close(self) -> None:
        self._sessions.close()

    @property
    def attempt(self) -> int:
        """How often the last unit was tried."""
        return self._sessions.attempt

    def carry_out(self, work: Work) -> None:
        """Raises what stopped it, with the part's name, and maybe the region, in its notes."""
        self._sessions.attempt = 1
        for region, route in work.behind.items():
            for part in route.parts:
                self._run(work.unit, route, part, [region], catching_up=True)
        regions = [region for region in work.unit.spec.regions if region not in work.absent]
        for part in work.route.parts:
            self._run(work.unit, work.route, part, regions)

    def _run(
        self,
        unit: Unit,
        route: Route,
        part: Part,
        regions: Sequence[str],
        *,
        catching_up: bool = False,
    ) -> None:
        def attempt() -> None:
            if part.kind is Kind.STRUCTURE:
                contract = part.number in route.contract_parts
                self._replay(unit, route, part, regions, contract=contract)
            elif part.kind is Kind.ROWS:
                self._change_rows(unit, part, regions, catching_up=catching_up)
            else:
                for region in regions:
                    self._run_for_real(unit, part, region)

        try:
            trying(
                attempt,
                self._sessions,
                attempts=self._manner.attempts,
                pause=RETRY_PAUSE_SECONDS,
            )
        except Exception as error:
            error.add_note(part.name)
            raise

    def _replay(
        self, unit: Unit, route: Route, part: Part, regions: Sequence[str], *, contract: bool
    ) -> None:
        sessions = self._sessions.of(unit.spec, regions)
        several = len(regions) > 1
        home = self._sessions.home(unit.spec, regions)
        template = self._templates.find(route, part, unit, self._sessions.alias(unit.spec, home))
        body = template.for_tenant(unit.schema, unit.tenant_id)
        milliseconds = int(self._manner.lock_timeout * 1000)
        message = ";\n".join(
            [
                f"BEGIN; SET LOCAL lock_timeout = '{milliseconds}ms'; "
                f'SET LOCAL search_path TO "{unit.schema}"',
                *([body] if body else []),
            ]
        ).encode()
        if not several:
            sessions[home].execute(message + b";\nCOMMIT")
            return
        order = [home, *(region for region in regions if region != home)]
        with quiet(unit, sessions, home, wanted=contract) as settled:
            for region in order:
                with told_of(region):
                    sessions[region].execute(message)
                if region == home:
                    # Its locks keep writers out now; what they wrote before arrives everywhere.
                    settled()
            for region in order:
                with told_of(region):
                    sessions[region].execute("COMMIT")

    def _change_rows(
        self, unit: Unit, part: Part, regions: Sequence[str], *, catching_up: bool
    ) -> None:
        sessions = self._sessions.of(unit.spec, regions)
        others = list(regions)
        if not catching_up:
            home = writer_of(unit.spec, sessions)
            alias = self._sessions.alias(unit.spec, home)
            rows.change(unit, part, home, alias, self._manner.lock_timeout)
            others.remove(home)
            if others:
                rows.wait_until_everywhere(unit, sessions, home, others)
        for region in others:
            # Its rows came through the fabric.
            _mark(sessions[region], unit, part)

    def _run_for_real(self, unit: Unit, part: Part, region: str) -> None:
        alias = self._sessions.alias(unit.spec, region)
        connection = connections[alias]
        path = psycopg.sql.Identifier(unit.schema).as_string()
        milliseconds = int(self._manner.lock_timeout * 1000)
        # Nothing is sent in front of these statements: some refuse company.
        with tenant_scope(None), connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {path}")
            cursor.execute(f"SET lock_timeout = '{milliseconds}ms'")
            try:
                if part.kind is Kind.APART:
                    _drop_unfinished_indexes(cursor, unit.schema)
                whole = transaction.atomic(using=alias) if part.atomic else nullcontext()
                with whole:
                    run_operations(connection, part)
                    protect(connection.connection, unit.schema, unit.tenant_id)
                    cursor.execute(";\n".join(marks_of(part)))
            finally:
                connection.close()


def _mark(session: psycopg.Connection, unit: Unit, part: Part) -> None:
    session.execute(
        ";\n".join(
            [f'BEGIN; SET LOCAL search_path TO "{unit.schema}"', *marks_of(part), "COMMIT"]
        ).encode()
    )


def _drop_unfinished_indexes(cursor: object, schema: str) -> None:
    """What a concurrent build leaves behind that was interrupted; nobody uses it."""
    cursor.execute(  # type: ignore[attr-defined]
        "SELECT format('DROP INDEX CONCURRENTLY %%I.%%I', n.nspname, c.relname)"
        "  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        "  JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND NOT i.indisvalid AND NOT i.indisprimary",
        (schema,),
    )
    for (statement,) in cursor.fetchall():  # type: ignore[attr-defined]
        cursor.execute(statement)  # type: ignore[attr-defined]
