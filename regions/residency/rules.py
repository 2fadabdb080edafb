"""Which rules an operation answers to. The ids are the vocabulary of tests, messages and console.

Every operation has one rule that comes first in its decisions. `place` has no id of its own:
onboarding is a move from nowhere, so it answers to M01, and to R01 as well because a placement
makes that region accept the tenant's writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from regions.residency.model import Operation

OPERATION_RULES: Mapping[Operation, tuple[str, ...]] = MappingProxyType(
    {
        Operation.PLACE: ("M01", "R01"),
        Operation.MOVE: ("M01",),
        Operation.REPLICATE: ("P02", "P01"),
        Operation.FAILOVER: ("B05", "B07"),
        Operation.ROUTE: ("R01",),
        Operation.TASK: ("Q02", "Q01"),
        Operation.CACHE: ("Q05",),
        Operation.STORE: ("Q07",),
        Operation.LOG: ("T01",),
        Operation.BACKUP: ("B01",),
        Operation.EXPORT: ("S04", "E06"),
        Operation.SUPPORT: ("S01",),
    }
)

RULES: Mapping[str, str] = MappingProxyType(
    {
        "R01": "A request for a tenant is answered only in a region that its policy allows.",
        "M01": "A tenant is placed in, or moved to, regions that its policy allows and no others.",
        "M05": "A policy that is tightened lists what already violates it.",
        "M06": "What rests on an adequacy decision ends with it.",
        "P01": "A cell has a replica only where all of its tenants' policies allow one.",
        "P02": "No publication, slot or subscription carries tenant data to an unlawful region.",
        "B01": "A backup stays where the data itself may be.",
        "B05": "Failover candidates are lawful, healthy and fresh: an unlawful region is none.",
        "B06": "With every lawful region down the tenant is unavailable; nobody else takes over.",
        "B07": "A failover with no lawful target is refused.",
        "Q01": "A task of a tenant is queued in a region that its policy allows.",
        "Q02": "A worker in an unlawful region gives a task back before it touches data.",
        "Q05": "A tenant's cache entries stay in regions that its policy allows.",
        "Q07": "A tenant's files are stored in regions that its policy allows.",
        "T01": "Logs of an unlawful region carry nothing of the tenant.",
        "S01": "Showing a record to somebody in another place is a transfer to that place.",
        "S04": "Exports and dumps run only where the data may be.",
        "E06": "A subject's export is made, stored and fetched in region.",
        "D09": "A region whose declared jurisdiction contradicts its country is not trusted.",
        "G01": "When the engine cannot decide, the answer is no.",
        "G02": "An unknown country is denied.",
        "G03": "A territory is under the law that really governs it.",
        "G04": "Tightening a policy never turns a refusal into a permission.",
        "G09": "An onward transfer needs a basis of its own.",
    }
)


def sentence(rule: str) -> str:
    """What the rule demands."""
    return RULES[rule]
