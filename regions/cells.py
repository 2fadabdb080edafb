"""Makes and removes a cell's databases in exactly the regions that the cell has.

Runs as the administrator of each region's PostgreSQL; every step is idempotent, so a broken run
is simply repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg import sql

from regions.deployment import (
    ADMIN_ROLE,
    AGENT_ROLE,
    APP_ROLE,
    CONTROL_CELL,
    OWNER_ROLE,
    PEER_ROLE,
    Deployment,
)
from regions.replication import install, transport
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]

# What each session of the application begins with. A sort of one tenant must not fill everybody's
# disk: only an administrator may change that. The path is that of tenants without a schema of their
# own, which is therefore sent with the others' statements only.
APP_SETTINGS = {"temp_file_limit": "2GB", "search_path": "public, standin, pg_catalog"}


@contextmanager
def administrator(
    deployment: Deployment, region: str, database: str = "postgres", *, seen_from: str | None = None
) -> Iterator[Connection]:
    """An autocommitting administrator's connection, made in region `seen_from` (None: on the
    spot)."""
    dsn = deployment.dsn(region, database, ADMIN_ROLE, seen_from=seen_from)
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        yield connection


@contextmanager
def administrators(deployment: Deployment, spec: CellSpec) -> Iterator[dict[str, Connection]]:
    """One for each of the cell's replicas, by region."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(administrator(deployment, name, spec.database))
            for name in spec.regions
        }


def prepare_region(deployment: Deployment, region: str) -> None:
    """The roles that every database of the region's cluster relies on."""
    with administrator(deployment, region) as admin:
        known = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
        for role in (OWNER_ROLE, APP_ROLE, AGENT_ROLE):
            name = sql.Identifier(role)
            if role not in known:
                admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
            attributes = "BYPASSRLS" if role == AGENT_ROLE else "NOBYPASSRLS"
            admin.execute(
                sql.SQL("ALTER ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE {} PASSWORD {}").format(
                    name,
                    sql.SQL(attributes),
                    sql.Literal(deployment.password(role)),
                )
            )
        if PEER_ROLE not in known:
            admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(PEER_ROLE)))
        for setting, values in APP_SETTINGS.items():
            admin.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(APP_ROLE),
                    sql.Identifier(setting),
                    sql.SQL(", ").join(map(sql.Literal, values.split(", "))),
                )
            )
        agent = sql.Identifier(AGENT_ROLE)
        admin.execute(
            sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(agent)
        )
        for database in ("postgres", "template1"):
            admin.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
            )


def create_databases(deployment: Deployment, spec: CellSpec) -> None:
    """The cell's database, with the fabric in it, in each of the cell's regions."""
    for region in spec.regions:
        with administrator(deployment, region) as admin:
            create_database(admin, spec)
            transport.ensure_role(admin, deployment, spec)
        lay(deployment, spec, region)


def lay(deployment: Deployment, spec: CellSpec, region: str) -> None:
    """The fabric in the cell's database there, and who may do what in it."""
    with administrator(deployment, region, spec.database) as admin:
        _restrict(admin)
        let_compare(admin)
        # A row as the texts of its columns by name. In pg_catalog apps find it, too.
        admin.execute("CREATE EXTENSION IF NOT EXISTS hstore SCHEMA pg_catalog")
        install.become_owner(admin)
        install.install(admin, spec, region=region, node=deployment.region(region).node)
        if spec.name == CONTROL_CELL:
            install.install_leases(admin)


def connect_replicas(deployment: Deployment, spec: CellSpec, *, only: str | None = None) -> None:
    """Every replica hears every other (`only`: it and the others each other). All slots exist
    before anything is sent: no gap."""
    for sender in spec.regions:
        with administrator(deployment, sender, spec.database) as admin:
            for receiver in spec.regions:
                if receiver != sender and only in (None, sender, receiver):
                    transport.ensure_slot(admin, spec, to=receiver)
    for receiver in spec.regions:
        with administrator(deployment, receiver, spec.database) as admin:
            for sender in spec.regions:
                if receiver != sender and only in (None, sender, receiver):
                    transport.ensure_subscription(
                        admin, deployment, spec, sender=sender, receiver=receiver
                    )


def end_sessions(admin: Connection, database: str, *, milliseconds: int) -> None:
    """Autovacuum's, too. To copy or drop a database PostgreSQL itself waits for five seconds."""
    admin.execute(
        "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE datname = %s",
        (milliseconds, database),
    )


def drop_databases(deployment: Deployment, spec: CellSpec) -> None:
    """Remove the cell's databases, slots and roles from all its regions."""
    present = []
    for region in spec.regions:
        with administrator(deployment, region) as admin:
            if database_exists(admin, spec.database):
                present.append(region)
    for drop in (transport.drop_subscriptions, transport.drop_slots):
        for region in present:
            with administrator(deployment, region, spec.database) as admin:
                drop(admin)
    for region in present:
        with administrator(deployment, region) as admin:
            database = sql.Identifier(spec.database)
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
            role = sql.Identifier(transport.role_name(spec.name))
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))


def database_exists(admin: Connection, database: str) -> bool:
    found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
    return found.fetchone() is not None


def create_database(admin: Connection, spec: CellSpec) -> None:
    """The cell's database, with nothing in it, unless there is one."""
    database = sql.Identifier(spec.database)
    if not database_exists(admin, spec.database):
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(OWNER_ROLE))
        )
    admit(admin, spec.database)


def admit(admin: Connection, database: str) -> None:
    """Who may connect to a cell's database."""
    name = sql.Identifier(database)
    # No CONNECT for PUBLIC keeps other cells' replication roles out; no TEMP keeps injected SQL
    # from shadowing tables for the session's next user.
    admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    admin.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(
            name, sql.Identifier(APP_ROLE), sql.Identifier(AGENT_ROLE)
        )
    )
    admin.execute(
        sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(name, sql.Identifier(AGENT_ROLE))
    )


def let_compare(admin: Connection) -> None:
    """The agent may see how far each subscription has got: who takes over from a lost writer must
    have most of its log."""
    may = "SELECT has_function_privilege(%s, 'pg_show_replication_origin_status()', 'EXECUTE')"
    if admin.execute(may, (AGENT_ROLE,)).fetchone() == (True,):
        return
    admin.execute(
        sql.SQL(
            "GRANT SELECT ON pg_catalog.pg_replication_origin_status TO {agent};"
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_replication_origin_status() TO {agent}"
        ).format(agent=sql.Identifier(AGENT_ROLE))
    )


def _restrict(admin: Connection) -> None:
    """Tables are the owner's; the application reads and writes rows, the agent everything."""
    names = {
        "owner": sql.Identifier(OWNER_ROLE),
        "app": sql.Identifier(APP_ROLE),
        "agent": sql.Identifier(AGENT_ROLE),
    }
    admin.execute(
        sql.SQL(
            "ALTER SCHEMA public OWNER TO {owner};"
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;"
            "GRANT USAGE ON SCHEMA public TO {app}, {agent};"
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner}"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};"
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO {agent};"
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SEQUENCES TO {app};"
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON SEQUENCES TO {agent};"
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SCHEMAS TO {app}, {agent}"
        ).format(**names)
    )
