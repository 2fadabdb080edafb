"""The settings of a region's cluster, as text. Pure.

Logical replication to many peers, crash safety on, and nothing of a row in the log: errors are
logged without their DETAIL, statement and parameters.
"""

from __future__ import annotations

from infra.fleet.plan import HOST

_SETTINGS: tuple[tuple[str, str], ...] = (
    ("listen_addresses", f"'{HOST}'"),
    ("unix_socket_directories", "''"),
    # The agent has three to each cell's database: for the gate, to look after it, to apply.
    ("max_connections", "400"),
    ("password_encryption", "'scram-sha-256'"),
    ("shared_buffers", "'48MB'"),
    ("max_wal_size", "'512MB'"),
    ("jit", "off"),
    ("timezone", "'UTC'"),
    # The fabric: every cell has a slot, a sender and a worker for each of its peers.
    ("wal_level", "logical"),
    ("max_replication_slots", "128"),
    ("max_wal_senders", "128"),
    ("max_logical_replication_workers", "96"),
    ("max_worker_processes", "112"),
    ("wal_retrieve_retry_interval", "'500ms'"),
    ("wal_receiver_status_interval", "'1s'"),
    # A black-holed link must be noticed, or the dead sender keeps the slot from the new one.
    ("wal_sender_timeout", "'10s'"),
    ("wal_receiver_timeout", "'10s'"),
    ("max_slot_wal_keep_size", "'2GB'"),
    # With it on, conflict messages would print rows.
    ("track_commit_timestamp", "off"),
    # The log leaves the region: no rows, no statements, no parameters in it.
    ("logging_collector", "off"),
    ("log_destination", "'stderr'"),
    ("log_line_prefix", "'%m [%p] %d '"),
    ("log_timezone", "'UTC'"),
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
)
_SINCE_18: tuple[tuple[str, str], ...] = (
    ("max_active_replication_origins", "256"),
    ("idle_replication_slot_timeout", "'1d'"),
    # Three helper processes less in each region; the working set is in memory anyway.
    ("io_method", "sync"),
)

HBA = f"""\
# TYPE  DATABASE     USER  ADDRESS       METHOD
host    all          all   {HOST}/32  scram-sha-256
host    replication  all   {HOST}/32  scram-sha-256
"""


def postgresql_conf(*, port: int, version: int) -> str:
    """The whole `postgresql.conf` of one cluster of this major version."""
    settings = (("port", str(port)), *_SETTINGS, *(_SINCE_18 if version >= 18 else ()))
    return "".join(f"{name} = {value}\n" for name, value in settings)
