"""Carries the log to the other replicas: one slot and one subscription a directed pair.

The bytes are PostgreSQL's: WAL, slots, restart. A replication role may connect to its own cell's
database and to nothing else.
"""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
from psycopg import sql

from regions.deployment import PEER_ROLE, Deployment
from regions.replication.install import PUBLICATION
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]

DROP_ATTEMPTS = 20


def role_name(cell: str) -> str:
    """The role that peers replicate this cell with."""
    return "repl_" + cell.replace("-", "_")


def slot_name(spec: CellSpec, to: str) -> str:
    """The slot at the sender; slots are named cluster-wide, so the cell is part of it."""
    return _identifier(f"{spec.database}_to_{to}")


def subscription_name(spec: CellSpec, sender: str) -> str:
    """The subscription at the receiver."""
    return _identifier(f"{spec.database}_from_{sender}")


def _identifier(name: str) -> str:
    """PostgreSQL keeps 63 bytes; two long names must not become one."""
    name = name.replace("-", "_")
    if len(name) <= 63:
        return name
    return f"{name[:50]}_{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def ensure_role(admin: Connection, deployment: Deployment, spec: CellSpec) -> None:
    """The cell's replication role exists here, with CONNECT on the cell's database alone."""
    role = role_name(spec.name)
    if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION").format(sql.Identifier(role)))
    admin.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(role), sql.Literal(deployment.password(role))
        )
    )
    admin.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {role}; GRANT {} TO {role}").format(
            sql.Identifier(spec.database), sql.Identifier(PEER_ROLE), role=sql.Identifier(role)
        )
    )


def ensure_slot(admin: Connection, spec: CellSpec, *, to: str) -> None:
    """The sender keeps what `to` has not received yet. `admin` is on the cell's database."""
    slot = slot_name(spec, to)
    known = admin.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (slot,))
    if known.fetchone() is None:
        admin.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))


def ensure_subscription(
    admin: Connection, deployment: Deployment, spec: CellSpec, *, sender: str, receiver: str
) -> None:
    """`receiver` hears what `sender` itself wrote. `admin` is on the receiver's cell database.

    `streaming = off`: a transaction reaches the inbox whole and in commit order.
    """
    node = deployment.region(sender).node
    admin.execute(
        "INSERT INTO fabric.watermark (origin, region) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (node, sender),
    )
    name = subscription_name(spec, sender)
    if _is_subscribed(admin, name):
        binary = sql.SQL("ALTER SUBSCRIPTION {} SET (binary = true)").format(sql.Identifier(name))
        admin.execute(binary)
        return
    dsn = deployment.dsn(sender, spec.database, role_name(spec.name), seen_from=receiver)
    admin.execute(
        sql.SQL(
            "CREATE SUBSCRIPTION {name} CONNECTION {dsn} PUBLICATION {publication} WITH ("
            "create_slot = false, slot_name = {slot}, copy_data = false, origin = none,"
            " streaming = off, binary = true)"
        ).format(
            name=sql.Identifier(name),
            dsn=sql.Literal(f"{dsn}?connect_timeout=3&keepalives_idle=5&keepalives_interval=2"),
            publication=sql.Identifier(PUBLICATION),
            slot=sql.Literal(slot_name(spec, receiver)),
        )
    )


def _is_subscribed(admin: Connection, name: str) -> bool:
    known = admin.execute(
        "SELECT 1 FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
        " WHERE subname = %s AND datname = current_database()",
        (name,),
    )
    return known.fetchone() is not None


def drop_subscriptions(admin: Connection) -> None:
    """This database hears nobody any more. Their slots are dropped where they are."""
    rows = admin.execute(
        "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
        " WHERE datname = current_database()"
    ).fetchall()
    for (name,) in rows:
        _drop_subscription(admin, name)


def drop_slots(admin: Connection) -> None:
    """This database keeps nothing for anybody. Call it once nobody subscribes any more."""
    slots = admin.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    ).fetchall()
    for (slot,) in slots:
        drop_slot(admin, slot)


def part(admin: Connection, deployment: Deployment, spec: CellSpec, *, gone: str) -> None:
    """This replica neither hears from the one in `gone` nor keeps anything for it."""
    unsubscribe(admin, spec, sender=gone)
    discard_slot(admin, spec, to=gone)
    admin.execute("DELETE FROM fabric.watermark WHERE origin = %s", (deployment.region(gone).node,))


def unsubscribe(admin: Connection, spec: CellSpec, *, sender: str) -> None:
    """This replica does not hear the sender any more. The slot is dropped where it is."""
    name = subscription_name(spec, sender)
    if _is_subscribed(admin, name):
        _drop_subscription(admin, name)


def discard_slot(admin: Connection, spec: CellSpec, *, to: str) -> None:
    """This replica keeps nothing for the one in `to`."""
    slot = slot_name(spec, to)
    known = admin.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (slot,))
    if known.fetchone() is not None:
        drop_slot(admin, slot)


def _drop_subscription(admin: Connection, name: str) -> None:
    subscription = sql.Identifier(name)
    admin.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(subscription))
    admin.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(subscription))
    admin.execute(sql.SQL("DROP SUBSCRIPTION {}").format(subscription))


def drop_slot(admin: Connection, slot: str) -> None:
    """Whoever reads it is sent away, and may be back before it is dropped."""
    for _ in range(DROP_ATTEMPTS):
        admin.execute(
            "SELECT pg_terminate_backend(active_pid, 2000) FROM pg_replication_slots"
            " WHERE slot_name = %s AND active_pid IS NOT NULL",
            (slot,),
        )
        try:
            admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
        except psycopg.errors.ObjectInUse:
            continue
        return
    admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
