"""The layers of a decision that rest on law: transfers to other bodies of law, localisation laws.

Each answers with a Ground; `decide` refuses when any of them does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from regions.residency.dataset import Adequacy, DataSet
from regions.residency.model import Destination, Mode, Operation, ResidencyPolicy

# What makes a region the primary copy, or lets data be collected there: a law that wants the
# first copy in the country forbids exactly these elsewhere.
COLLECTING = frozenset(
    {Operation.PLACE, Operation.MOVE, Operation.FAILOVER, Operation.ROUTE, Operation.TASK}
)


@dataclass(frozen=True, slots=True)
class Ground:
    """One layer's answer; `because` completes a sentence."""

    lawful: bool
    because: str
    rules: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    audit: bool = False


def law_of_home(home: str, day: date, data: DataSet) -> str:
    """The body of law of a policy's home, which is a country or that body itself."""
    return home if home in data.bodies else data.law_of(home, day)


def transfer(
    policy: ResidencyPolicy,
    destination: Destination,
    country: str,
    home_law: str,
    day: date,
    data: DataSet,
) -> Ground:
    """May data leave `home_law` for `country`: by adequacy, or else by safeguards?"""
    law = data.exporters.get(home_law, "")
    reference = (law,) if law else ()
    known = [
        decision
        for decision in data.decisions(home_law, country, day)
        if policy.home not in decision.not_for
    ]
    in_force = [decision for decision in known if day in decision.period]
    for decision in in_force:
        if decision.certification is None:
            because = f"{country} is adequate under {home_law} law by {decision.act}"
            return Ground(True, because, references=(*reference, decision.act))
    for decision in in_force:
        if decision.certification in destination.certified:
            because = (
                f"{decision.act} covers {country} for {decision.certification}-certified "
                "recipients, and this one is certified"
            )
            return Ground(True, because, references=(*reference, decision.act), audit=True)
    if policy.mode is Mode.SAFEGUARDED and _safeguarded(destination):
        named = ", ".join(sorted(destination.safeguards))
        return Ground(True, f"safeguards are in place ({named})", references=reference, audit=True)
    because, rules = _why_not(home_law, country, day, known, in_force)
    acts = tuple(decision.act for decision in known)
    return Ground(False, because, rules, (*reference, *acts))


def floor(home: str, operation: Operation, country: str, day: date, data: DataSet) -> Ground:
    """The localisation laws of the policy's home: no mode goes below them."""
    for regime in data.regimes_of(home, day) if country != home else ():
        binds = (
            regime.strength == "HARD"
            or (regime.strength == "HARD_COPY" and operation in COLLECTING)
            or (regime.strength == "DENY_LIST" and country in regime.denied)
        )
        if binds:
            because = f"the law of {home} ({regime.act}) forbids it, whatever the policy's mode"
            return Ground(False, because, references=(regime.act,))
    return Ground(True, "no localisation law forbids it")


def _safeguarded(destination: Destination) -> bool:
    """A transfer contract and its impact assessment are both on file (GDPR Art. 46)."""
    kinds = {reference.partition(":")[0] for reference in destination.safeguards}
    return {"SCC", "TIA"} <= kinds


def _why_not(
    law: str, country: str, day: date, known: list[Adequacy], in_force: list[Adequacy]
) -> tuple[str, tuple[str, ...]]:
    if in_force:
        decision = in_force[0]
        return (
            f"{decision.act} covers {country} only for {decision.certification}-certified "
            "recipients, and this one is not certified",
            (),
        )
    ended = [decision for decision in known if decision.period.end and decision.period.end <= day]
    if ended:
        last = max(ended, key=lambda decision: decision.period.end or day)
        return f"{last.act} about {country} ended on {last.period.end}", ("M06",)
    coming = [decision for decision in known if day < decision.period.start]
    if coming:
        first = min(coming, key=lambda decision: decision.period.start)
        return f"{first.act} about {country} begins on {first.period.start}", ("M06",)
    return f"{law} law has no adequacy decision about {country}", ()
