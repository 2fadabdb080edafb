"""Is the application's role as weak as it has to be?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from regions.cells import APP_SETTINGS
from regions.deployment import APP_ROLE
from tenants.doctor.findings import Finding, Severity

Connection = psycopg.Connection[Any]
NAME = "role"

_FLAGS = """
SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication,
       (SELECT array_agg(m.roleid::regrole::text) FROM pg_auth_members m WHERE m.member = r.oid),
       (SELECT array_agg(unnest) FROM pg_db_role_setting s, unnest(setconfig)
         WHERE setrole = r.oid)
  FROM pg_roles r WHERE rolname = %s
"""
_OWNED = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relowner = %(role)s::regrole
 UNION ALL
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.proowner = %(role)s::regrole
 UNION ALL
SELECT nspname::text FROM pg_namespace WHERE nspowner = %(role)s::regrole
 UNION ALL
SELECT datname::text FROM pg_database WHERE datdba = %(role)s::regrole
"""
_MAY_CREATE = """
SELECT 'objects in schema ' || nspname FROM pg_namespace
 WHERE nspname !~ '^pg_(toast_)?temp' AND has_schema_privilege(%(role)s, oid, 'CREATE')
 UNION ALL
SELECT 'schemas' WHERE has_database_privilege(%(role)s, current_database(), 'CREATE')
 UNION ALL
SELECT 'temporary tables' WHERE has_database_privilege(%(role)s, current_database(), 'TEMPORARY')
"""
_MAY_RUIN = """
SELECT DISTINCT privilege || ' ' || c.oid::regclass FROM pg_class c,
       unnest(ARRAY['TRUNCATE', 'TRIGGER', 'REFERENCES']) privilege
 WHERE c.relkind IN ('r', 'p') AND has_table_privilege(%(role)s, c.oid, privilege)
"""
_TITLES = (
    "is a superuser",
    "bypasses row-level security",
    "may create databases",
    "may create roles",
    "may replicate",
)


def check(administrator: Connection, where: str) -> Iterator[Finding]:
    def danger(what: str, step: str) -> Finding:
        return Finding(NAME, Severity.DANGER, f"{APP_ROLE} {what}.", step, where)

    row = administrator.execute(_FLAGS, (APP_ROLE,)).fetchone()
    if row is None:
        yield danger("does not exist", "Repair the region: `manage.py bootstrap`.")
        return
    *flags, groups, settings = row
    for title, flag in zip(_TITLES, flags, strict=True):
        if flag:
            yield danger(
                title,
                f"ALTER ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE "
                "NOREPLICATION; then find out who changed it.",
            )
    for group in groups or ():
        yield danger(f"is a member of {group}", f"REVOKE {group} FROM {APP_ROLE};")
    found = dict(setting.split("=", 1) for setting in settings or ())
    for setting, value in APP_SETTINGS.items():
        if setting not in found:
            yield Finding(
                NAME,
                Severity.WARNING,
                f"Sessions of {APP_ROLE} do not begin with {setting} = {value}.",
                f"ALTER ROLE {APP_ROLE} SET {setting} = {value};",
                where,
            )
    for setting, value in found.items():
        if setting in APP_SETTINGS:
            continue
        yield Finding(
            NAME,
            Severity.WARNING,
            f"Sessions of {APP_ROLE} begin with {setting} = {value}, for all tenants.",
            f"ALTER ROLE {APP_ROLE} RESET {setting}; unless an operator has set it on purpose.",
            where,
        )
    bind = {"role": APP_ROLE}
    for (name,) in administrator.execute(_OWNED, bind):
        yield danger(f"owns {name}", "Give it to meridian_owner (ALTER … OWNER TO).")
    for (thing,) in administrator.execute(_MAY_CREATE, bind):
        yield danger(f"may create {thing}", "Revoke CREATE or TEMPORARY from it and from PUBLIC.")
    for (privilege,) in administrator.execute(_MAY_RUIN, bind):
        yield danger(f"has the privilege {privilege}", "Revoke it: rows are enough.")
