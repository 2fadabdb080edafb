"""Merge rules: which fields are merged otherwise than by the last writer, declared by table.

Each rule is a join: commutative, associative, idempotent. A later insert of a key starts the row
anew: only states of the same row are joined. The outcome of a rule is no conflict, so the ledger
has no part of it.

counter        every region's increments count (PN counter: a sum for each node, in `_fields`)
bounded:N      a counter that never falls below N (0 where nothing is said): a region takes away
               only what it holds rights for, which regions give each other (`escrow`)
max, min       the greatest, or the smallest, that anybody wrote; a write the other way is undone
enable_wins    concurrent true and false: true
disable_wins   concurrent true and false: false
set            (of an array) elements: what one region adds stays, unless it was seen and removed
keep_both      every value that nobody knowingly replaced is kept; the field shows the newest
resolve:F@N    as keep_both, but the field shows what the application's function F makes of the
               values (`resolving`), in its version N
rename         of two rows that claim one unique value the later one gets another
set:a,b        (of a table, under "*") rows are elements, named by the columns a and b: two regions
               that add one element add the same row, and a delete removes only what it has seen
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from psycopg import sql

ROWS = "*"  # stands for the table's rows

_declared: dict[str, dict[str, str]] = {}


def declare(table: str, rules: Mapping[str, str]) -> None:
    """The rules of `table`, in whichever schema, by column. Tables get them when attached."""
    _declared.setdefault(table, {}).update(rules)


def declared(table: str, columns: Collection[str]) -> dict[str, str]:
    """What has been declared for the table, by column, of those that it has by now."""
    rules = _declared.get(table, {})
    return {name: rule for name, rule in rules.items() if name == ROWS or name in columns}


def kind(rule: str) -> str:
    """A rule without its parameter."""
    return rule.partition(":")[0]


def bound(rule: str) -> Decimal:
    """The least value that a bounded counter may have. Raises ValueError."""
    try:
        least = Decimal(rule.partition(":")[2] or "0")
    except InvalidOperation:
        raise ValueError(rule) from None
    if not least.is_finite():
        raise ValueError(rule)
    return least


def as_json() -> str:
    """All declarations, in an order of their own: `{table: {column: rule}}`."""
    return json.dumps(_declared, sort_keys=True)


_TRIGGER = sql.SQL("""
CREATE OR REPLACE TRIGGER {trigger} BEFORE {event} ON {table} FOR EACH ROW
    {condition} EXECUTE FUNCTION {function}({arguments})""")

# A move keeps the names that rows have, were they made before there was the rule.
_UNLESS_KEPT = "WHEN (current_setting('fabric.keep_names', true) IS DISTINCT FROM 'on')"


_EVENTS = {
    "name_element": "INSERT",
    "keep_bound": "INSERT OR UPDATE",
    "keep_set": "INSERT OR UPDATE",
}


@dataclass(frozen=True, slots=True)
class Trigger:
    """Its name says when it runs: those of one event run in the order of their names."""

    name: str
    function: str
    arguments: tuple[str, ...]

    def statement(self, table: sql.Identifier) -> sql.Composed:
        """What makes it."""
        naming = self.function == "name_element"
        return _TRIGGER.format(
            trigger=sql.Identifier(self.name),
            event=sql.SQL(_EVENTS.get(self.function, "UPDATE")),
            table=table,
            condition=sql.SQL(_UNLESS_KEPT if naming else ""),
            function=sql.Identifier("fabric", self.function),
            arguments=sql.SQL(", ").join(map(sql.Literal, self.arguments)),
        )


def triggers(rules: Mapping[str, str]) -> list[Trigger]:
    """Those that a table with these rules has."""
    found = []
    for column, rule in sorted(rules.items()):
        short = hashlib.sha256(column.encode()).hexdigest()[:12]
        if column == ROWS:
            names = rule.partition(":")[2].split(",")
            found.append(Trigger(f"fabric_rule_{short}", "name_element", (kind(rule), *names)))
        elif rule in ("max", "min"):
            # Before the stamps: what the rule does not let happen is no change.
            found.append(Trigger(f"fabric_rule_{short}", "keep_field", (rule, column)))
        elif kind(rule) in ("keep_both", "resolve"):
            found.append(Trigger(f"fabric_rule_{short}", "hear_settled", (rule, column)))
            found.append(Trigger(f"zzz_fabric_rule_{short}", "keep_values", (rule, column)))
        elif rule == "set":
            found.append(Trigger(f"zzz_fabric_rule_{short}", "keep_set", (rule, column)))
        elif kind(rule) == "bounded":
            about = (str(bound(rule)), column)
            found.append(Trigger(f"fabric_rule_{short}", "hear_ask", about))
            found.append(Trigger(f"zzz_fabric_rule_{short}", "keep_bound", about))
        elif rule != "rename":
            # After them: the state that the rule needs stands in the place of the field's stamp.
            found.append(Trigger(f"zzz_fabric_rule_{short}", "keep_state", (rule, column)))
    return found
