"""Does the server keep statements, and with them contexts and values, where others read them?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from tenants.doctor.findings import Finding, Severity

Connection = psycopg.Connection[Any]
NAME = "logs"

# The application's session says what is in force for it, roles' and databases' settings included.
_SAFE = {
    "log_statement": ("none",),
    "log_min_duration_statement": ("-1",),
    "log_min_duration_sample": ("-1",),
    "log_transaction_sample_rate": ("0",),
    "log_min_error_statement": ("panic", "fatal"),
    "log_error_verbosity": ("terse",),
    "log_parameter_max_length": ("0",),
    "log_parameter_max_length_on_error": ("0",),
    "log_temp_files": ("-1",),
    "debug_print_parse": ("off",),
    "debug_print_rewritten": ("off",),
    "debug_print_plan": ("off",),
    "auto_explain.log_min_duration": ("-1",),
}
# Later ones put `$1` in the place of what is set.
_SAFE_BEFORE_18 = {"pg_stat_statements.track_utility": ("off",)}


def check(application: Connection, where: str) -> Iterator[Finding]:
    safe = _SAFE if application.info.server_version >= 180000 else _SAFE | _SAFE_BEFORE_18
    rows = application.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", (list(safe),)
    )
    for name, value in rows.fetchall():
        if value not in safe[name]:
            yield Finding(
                NAME,
                Severity.WARNING,
                f"{name} is {value}: the server keeps statements, with contexts and values.",
                f"Set {name} = {safe[name][0]}. A context in a log can be used for five minutes.",
                where,
            )
