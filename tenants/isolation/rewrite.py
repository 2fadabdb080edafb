"""How tables become tables that tenants share: pure, from the catalog to SQL.

Every key, exclusion and index leads with the tenant, and every foreign key carries it, so that
uniqueness is a tenant's own and the database itself refuses a reference across tenants. What
already does is left alone: running it again after a migration handles only what it brought.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from tenants.isolation.catalog import Constraint, Index, Table

TENANT_COLUMN = "tenant_id"

# Whose rows those are that a table had before it was shared (`seed.py`).
SEED = UUID("5eed5eed-0000-4000-8000-000000000000")

# Parsed, not verified: the policy's WITH CHECK verifies the signature, once a statement.
_CLAIMED = "nullif(split_part(current_setting('meridian.context', true), '.', 1), '')::uuid"

ADD_TENANT = (
    f"ALTER TABLE {{table}} ADD COLUMN IF NOT EXISTS {TENANT_COLUMN} uuid NOT NULL"
    f" DEFAULT '{SEED}', ALTER COLUMN {TENANT_COLUMN} SET DEFAULT {_CLAIMED}"
)

# Access methods that take one column only, and which do the same with the tenant in front.
LEADABLE = {"spgist": "gist", "hash": "btree"}


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def qualified(table: Table) -> str:
    return f"{quote(table.schema)}.{quote(table.name)}"


def share_tables(tables: Iterable[Table]) -> list[str]:
    """The statements, in order, that make all of `tables` shareable; [] when they are. Partitions
    get what the table gets that they are part of."""
    every = [table for table in tables if not table.part]
    shared = {table.name for table in every}
    columns, drops, keys, indexes, references = [], [], [], [], []
    for table in every:
        name = qualified(table)
        if TENANT_COLUMN not in table.columns:
            columns.append(ADD_TENANT.format(table=name))
        for key in simple_constraints(table, shared):
            if key.kind == "f":
                drops.append(_drop(name, key))
                references.append(_add(name, key, _reference(table, key)))
            else:
                lead = _lead_exclusion if key.kind == "x" else _lead
                keys += [_drop(name, key), _add(name, key, lead(key.definition))]
        for index in simple_indexes(table):
            indexes += [
                f"DROP INDEX {quote(table.schema)}.{quote(index.name)}",
                _lead_index(index.definition),
            ]
    # Foreign keys hang on the keys that are replaced: they go first and come back last.
    return columns + drops + keys + indexes + references


def simple_constraints(table: Table, shared: set[str]) -> Iterator[Constraint]:
    """Constraints that do not know the tenant yet. References to tables that all tenants read
    stay as they are."""
    for key in table.constraints:
        if key.kind == "f" and key.target not in shared:
            continue
        if TENANT_COLUMN not in key.columns:
            yield key


def simple_indexes(table: Table) -> Iterator[Index]:
    """B-trees that do not lead with the tenant. Other methods stay as they are: a policy lets them
    be used, or not, whatever leads them (docs/adr/0009)."""
    for index in table.indexes:
        if index.method == "btree" and index.first_column != TENANT_COLUMN:
            yield index


def _drop(name: str, key: Constraint) -> str:
    return f"ALTER TABLE {name} DROP CONSTRAINT {quote(key.name)}"


def _add(name: str, key: Constraint, definition: str) -> str:
    return f"ALTER TABLE {name} ADD CONSTRAINT {quote(key.name)} {definition}"


def _lead(definition: str) -> str:
    """`UNIQUE (a) DEFERRABLE` → `UNIQUE (tenant_id, a) DEFERRABLE`."""
    head, bracket, rest = definition.partition("(")
    return f"{head}{bracket}{TENANT_COLUMN}, {rest}"


def _lead_exclusion(definition: str) -> str:
    """`EXCLUDE USING gist (a WITH &&)` → `EXCLUDE USING gist (tenant_id WITH =, a WITH &&)`."""
    head, bracket, rest = definition.partition(" (")
    keyword, _, method = head.rpartition(" ")
    return f"{keyword} {LEADABLE.get(method, method)}{bracket}{TENANT_COLUMN} WITH =, {rest}"


def _lead_index(definition: str) -> str:
    """The same for `CREATE [UNIQUE] INDEX … USING btree (…) [WHERE …]`."""
    head, using, rest = definition.partition(" USING btree (")
    return f"{head}{using}{TENANT_COLUMN}, {rest}"


def _reference(table: Table, key: Constraint) -> str:
    columns = ", ".join(map(quote, (TENANT_COLUMN, *key.columns)))
    targets = ", ".join(map(quote, (TENANT_COLUMN, *key.target_columns)))
    # What follows the referenced columns: MATCH, ON UPDATE, ON DELETE, DEFERRABLE. Setting the
    # reference to null must leave the tenant in place.
    actions = key.definition.rpartition(" REFERENCES ")[2].partition(")")[2]
    own = ", ".join(map(quote, key.columns))
    for action in ("SET NULL", "SET DEFAULT"):
        actions = actions.replace(f"ON DELETE {action}", f"ON DELETE {action} ({own})")
    target = f"{quote(table.schema)}.{quote(key.target or '')}"
    return f"FOREIGN KEY ({columns}) REFERENCES {target} ({targets}){actions}"
