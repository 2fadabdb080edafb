"""Merge rules: which fields are merged otherwise than by the last writer, declared by table.

Each rule is a join: commutative, associative, idempotent. A later insert of a key starts the row
anew: only states of the same row are joined. The outcome of a rule is no conflict, so the ledger
has no part of it.

counter        every region's increments count (PN counter: a sum for each node, in `_fields`)
max, min       the greatest, or the smallest, that anybody wrote; a write the other way is undone
enable_wins    concurrent true and false: true
disable_wins   concurrent true and false: false
rename         of two rows that claim one unique value the later one gets another
set:a,b        (of a table, under "*") rows are elements, named by the columns a and b: two regions
               that add one element add the same row, and a delete removes only what it has seen
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from psycopg import sql

FIELD_RULES = frozenset({"counter", "max", "min", "enable_wins", "disable_wins", "rename"})
ROWS = "*"  # stands for the table's rows

_declared: dict[str, dict[str, str]] = {}


def declare(table: str, rules: Mapping[str, str]) -> None:
    """The rules of `table`, in whichever schema, by column. Tables get them when attached."""
    _declared.setdefault(table, {}).update(rules)


def declared(table: str) -> dict[str, str]:
    """What has been declared for the table, by column."""
    return dict(_declared.get(table, {}))


def everything() -> str:
    """All declarations, as one text that says when they differ."""
    return repr(sorted((table, sorted(rules.items())) for table, rules in _declared.items()))


# Before the stamps: what the rule does not let happen is no change.
_CLAMP = sql.SQL("""
CREATE OR REPLACE TRIGGER {trigger} BEFORE UPDATE ON {table} FOR EACH ROW
    WHEN (NEW.{column} {undone} OLD.{column} OR NEW.{column} IS NULL AND OLD.{column} IS NOT NULL)
    EXECUTE FUNCTION fabric.keep_field({rule}, {name})""")

_NAME_ELEMENT = sql.SQL("""
CREATE OR REPLACE TRIGGER {trigger} BEFORE INSERT ON {table} FOR EACH ROW
    EXECUTE FUNCTION fabric.name_element({rule}, {columns})""")

# After them: the state that the rule needs stands in the place of the field's stamp.
_STATE = sql.SQL("""
CREATE OR REPLACE TRIGGER {trigger} BEFORE UPDATE ON {table} FOR EACH ROW
    WHEN (OLD.{column}::text IS DISTINCT FROM NEW.{column}::text)
    EXECUTE FUNCTION fabric.keep_state({rule}, {name})""")


def triggers(rules: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The triggers that a table with these rules has: their arguments by name."""
    return {trigger: arguments for trigger, arguments, _ in _triggers(rules)}


def statements(table: sql.Identifier, rules: Mapping[str, str]) -> list[sql.Composed]:
    """What makes those triggers."""
    return [
        text.format(
            trigger=sql.Identifier(trigger),
            table=table,
            column=sql.Identifier(arguments[1]),
            undone=sql.SQL("<" if arguments[0] == "max" else ">"),
            rule=sql.Literal(arguments[0]),
            name=sql.Literal(arguments[1]),
            columns=sql.SQL(", ").join(map(sql.Literal, arguments[1:])),
        )
        for trigger, arguments, text in _triggers(rules)
    ]


def _triggers(rules: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], sql.SQL]]:
    for column, rule in sorted(rules.items()):
        short = hashlib.sha256(column.encode()).hexdigest()[:12]
        if column == ROWS:
            kind, _, names = rule.partition(":")
            yield f"fabric_rule_{short}", (kind, *names.split(",")), _NAME_ELEMENT
        elif rule in ("max", "min"):
            yield f"fabric_rule_{short}", (rule, column), _CLAMP
        elif rule != "rename":
            yield f"zzz_fabric_rule_{short}", (rule, column), _STATE
