"""Where may a tenant's data be? One pure answer with its grounds, for every point that asks.

`decide` answers, `require` raises on a refusal, `lawful_regions`, `failover_candidates` and
`route` choose among regions. Policies are text (`parse_policy`), facts are dated data in `data/`,
rule ids are in `rules`. Nothing here reads a clock or a network. Not legal advice.
"""

from regions.errors import InvalidPolicy, ResidencyDenied
from regions.residency.candidates import Candidates, failover_candidates, lawful_regions, route
from regions.residency.decisions import decide, denial, require
from regions.residency.model import (
    Decision,
    Destination,
    Mode,
    Operation,
    ResidencyPolicy,
    Verdict,
)
from regions.residency.policies import default_policy, parse_policy
from regions.residency.rules import OPERATION_RULES, RULES

__all__ = [
    "OPERATION_RULES",
    "RULES",
    "Candidates",
    "Decision",
    "Destination",
    "InvalidPolicy",
    "Mode",
    "Operation",
    "ResidencyDenied",
    "ResidencyPolicy",
    "Verdict",
    "decide",
    "default_policy",
    "denial",
    "failover_candidates",
    "lawful_regions",
    "parse_policy",
    "require",
    "route",
]
