"""The database wrapper: PostgreSQL as Django knows it, aware of cells.

Guarantees that a connection to a cell runs each statement for the tenant in scope. The control
database and an operator's work without a tenant go out as they are.
"""

from __future__ import annotations

from datetime import UTC
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import register_tzloader
from psycopg import adapters
from psycopg.adapt import AdaptersMap
from psycopg.pq import Format

from regions.current import deployment
from regions.deployment import APP_ROLE
from regions.topology import TenancyMode
from tenants.backend.context import CellContext
from tenants.backend.cursor import TenantCursor
from tenants.backend.features import DatabaseFeatures
from tenants.backend.introspection import DatabaseIntrospection
from tenants.backend.operations import DatabaseOperations
from tenants.backend.pool import Key, process_pool
from tenants.backend.schema import DatabaseSchemaEditor
from tenants.backend.session import Session
from tenants.backend.stream import TenantStream
from tenants.context import current_tenant_or_none
from tenants.directory import TenantRecord
from tenants.errors import WrongTenantError

if TYPE_CHECKING:
    from tenants.limits.connections import Holders


def _holders() -> Holders:
    # The client of the region's store takes long to import: for a tenant with a limit only.
    from tenants.limits.connections import holders

    return holders()


class DatabaseWrapper(base.DatabaseWrapper):
    """`settings_dict["MERIDIAN"]` names the cell: {"cell", "mode", "region", "role"}."""

    features_class = DatabaseFeatures
    introspection_class = DatabaseIntrospection
    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        place = settings_dict.get("MERIDIAN")
        self.cell_context: CellContext | None = None
        if place:
            key = deployment().context_key(place["cell"])
            self.cell_context = CellContext(place["cell"], place["role"], key)
        # The owner's sessions change structure, and are nobody else's afterwards.
        self._pooled = place is not None and place["role"] == APP_ROLE
        self._by_schema = self._pooled and place is not None and place["mode"] == TenancyMode.SCHEMA
        self._schema: str | None = None
        # The limited tenant whose number of connections this one counts for.
        self._counted: UUID | None = None
        self.tenant_session = Session(not self.shares_database) if self._pooled else None

    @cached_property
    def pool_key(self) -> Key:
        """What its connections have in common."""
        named = self.settings_dict
        return named["HOST"], named["PORT"], named["NAME"], named["USER"]

    def ensure_connection(self) -> None:
        """Another tenant's work goes to a connection that nobody has left anything in, and where
        tenants have schemas, to one that knows the schema."""
        if self.connection is not None and self._is_anothers():
            if not self.in_atomic_block:
                self.close()
            elif self.tenant_session is not None and self.tenant_session.is_anothers():
                raise WrongTenantError(
                    "A transaction of one tenant can't go on for another: leave the `atomic()` "
                    "block before you enter another tenant's scope."
                )
        super().ensure_connection()

    def _is_anothers(self) -> bool:
        if self.tenant_session is not None and self.tenant_session.is_anothers():
            return True
        tenant = self.tenant
        if tenant is None or not self._pooled:
            return False
        if self._by_schema and tenant.schema != self._schema:
            return True
        # Whoever is limited pays for what works for it; in a transaction, who began that.
        limited = tenant.limits.connections is not None or self._counted is not None
        return limited and tenant.id != self._counted

    def connect(self) -> None:
        """Use one of the process' connections, or make one."""
        if not self._pooled:
            super().connect()
            return
        if self._by_schema:
            self._schema = self.tenant.schema if self.tenant else None
        if self.tenant_session is not None:
            self.tenant_session.begin()
        tenant = self.tenant
        if tenant is not None and tenant.limits.connections is not None:
            _holders().enter(tenant, self)
            self._counted = tenant.id
        try:
            connection, used = process_pool().take(self.pool_key, self, self._open, self._schema)
        except BaseException:
            self._leave()
            raise
        if used:
            self._resume(connection)

    def _open(self) -> Any:
        try:
            super().connect()
        except BaseException:
            if self.connection is not None:
                self.connection.close()
                self.connection = None
            raise
        return self.connection

    def _resume(self, connection: Any) -> None:
        """What Django's `connect()` sets, without the work on a connection that had it done."""
        self.connection = connection
        self.autocommit = True
        self.in_atomic_block = self.needs_rollback = False
        self.savepoint_ids, self.atomic_blocks, self.run_on_commit = [], [], []
        self.closed_in_transaction = self.errors_occurred = False
        self.close_at = None
        self.health_check_enabled, self.health_check_done = False, True

    def _close(self) -> None:
        if not self._pooled:
            super()._close()  # type: ignore[misc]
        elif self.connection is not None:
            try:
                with self.wrap_database_errors:
                    session = self.tenant_session
                    clean = session is None or session.owner is None
                    process_pool().give_back(self.pool_key, self.connection, clean=clean)
            finally:
                self._leave()

    def _leave(self) -> None:
        if self._counted is not None:
            _holders().leave(self._counted, self)
            self._counted = None

    def close_if_unusable_or_obsolete(self) -> None:
        """At a request's beginning and end: its connection is for the next one, in any thread."""
        if not self._pooled or self.in_atomic_block:
            super().close_if_unusable_or_obsolete()
        elif self.connection is not None:
            self.close()

    @property
    def shares_tables(self) -> bool:
        """Whether its tables hold the rows of many tenants."""
        place = self.settings_dict.get("MERIDIAN")
        return place is not None and place["mode"] == TenancyMode.SHARED

    @property
    def shares_database(self) -> bool:
        """Whether the application reads and writes here for many tenants."""
        place = self.settings_dict.get("MERIDIAN")
        return (
            place is not None
            and place["role"] == APP_ROLE
            and place["mode"] != TenancyMode.DEDICATED
        )

    @property
    def tenant(self) -> TenantRecord | None:
        """The tenant in scope (django-tenants' vocabulary)."""
        return current_tenant_or_none()

    @property
    def schema_name(self) -> str:
        """The schema that the next statement works in."""
        tenant = self.tenant
        return tenant.schema if tenant and self.cell_context else "public"

    def get_connection_params(self) -> dict[str, Any]:
        usual = super().get_connection_params()
        if self.cell_context is None:
            return {**usual, "cursor_factory": TenantCursor}
        context = _with_fast_times(usual["context"])
        return {**usual, "context": context, "cursor_factory": TenantCursor}

    def create_cursor(self, name: str | None = None) -> Any:
        if self.cell_context is None:
            return super().create_cursor(name)
        cursor = self.connection.cursor()
        if self.timezone is not UTC:
            register_tzloader(self.timezone, cursor)
        cursor.context = self.cell_context
        cursor.session = self.tenant_session
        if name and self._may_stream():
            return TenantStream(cursor, name, held=self.connection.autocommit)
        return cursor

    def _may_stream(self) -> bool:
        """Not between the transactions of a pooler: the next one is in another session."""
        session = self.tenant_session
        if session is None or not self.connection.autocommit:
            return True
        return not session.is_pooled(self.connection.pgconn)


@lru_cache
def _with_fast_times(template: AdaptersMap) -> AdaptersMap:
    """Django's adapters, but psycopg's own loader of `timestamptz`. In a session whose time zone
    is UTC it says the same as Django's, which is in Python: a tenth of a list of 20 rows."""
    found = AdaptersMap(template)
    loader: Any = adapters.get_loader(adapters.types["timestamptz"].oid, Format.TEXT)
    found.register_loader("timestamptz", loader)
    return found
