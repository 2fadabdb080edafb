"""What a drill showed: times, losses, and whether the cell kept its objectives. Pure.

The times come from the external ledger of probe writes: the fault is where acknowledgements stop,
not where the tool was called. Moments are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from regions.drills.plan import Plan
from regions.drills.scenarios import Expect

ROUTING_SECONDS = 2.0  # on top of the time to live: to notice, promote and route


@dataclass(frozen=True, slots=True)
class Objectives:
    """`rto_seconds`: the longest time without an acknowledged write. `rpo_writes`: acknowledged
    writes that may be missing once everything is healed."""

    rto_seconds: float
    rpo_writes: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    at: float
    region: str


@dataclass(frozen=True, slots=True)
class Gate:
    """At `at` region let writes commit until `until`, under `epoch`."""

    at: float
    region: str
    epoch: int
    until: float


@dataclass(frozen=True, slots=True)
class Said:
    """What an agent did and why, as its log has it."""

    at: float
    region: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was observed. `done`: what the drill did, and when. `missing_then`: of the
    acknowledged writes, what the new writer did not have before the healing; `missing_after`:
    what the cell's regions lack afterwards."""

    began: float
    broken: float
    healing: float
    ended: float
    done: Sequence[tuple[float, str]] = ()
    acks: Sequence[Ack] = ()
    refusals: Sequence[float] = ()
    gates: Sequence[Gate] = ()
    said: Sequence[Said] = ()
    missing_then: int | None = None
    missing_after: int | None = None
    halted: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    wanted: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds after the fault; None: did not happen."""

    detection: float | None = None
    decision: float | None = None
    promotion: float | None = None
    routing: float | None = None
    rto: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    times: Times
    writer: str | None
    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def judge(plan: Plan, seen: Seen, objectives: Objectives) -> Verdict:
    """Whether what happened is what should."""
    checks = [_never_two(seen), _lawful(plan, seen), _nothing_lost(seen, objectives)]
    while_broken = [ack for ack in seen.acks if seen.broken <= ack.at <= seen.healing]
    writer = while_broken[-1].region if while_broken else None
    times = _times(plan, seen)
    match plan.expects:
        case Expect.MOVES:
            found = f"{writer or 'nobody'} acknowledged last"
            moved = writer is not None and writer != plan.stage.writer
            checks.append(Check("the writer moves", f"not {plan.stage.writer}", found, moved))
            checks.append(_in_time(times.rto, objectives))
        case Expect.STAYS:
            stayed = {ack.region for ack in while_broken} == {plan.stage.writer}
            who = ", ".join(sorted({ack.region for ack in while_broken})) or "nobody"
            checks.append(Check("the writer stays", plan.stage.writer, who, stayed))
            checks.append(_in_time(times.rto, objectives))
        case Expect.DARK:
            # It is still written until the last of what is to be broken is.
            broken = max([seen.broken, *(at for at, _ in seen.done if at < seen.healing)])
            late = [ack for ack in while_broken if ack.at > broken + objectives.rto_seconds]
            checks.append(
                Check("nobody writes", "no acknowledgement", f"{len(late)} of them", not late)
            )
            back = [ack for ack in seen.acks if ack.at > seen.healing]
            checks.append(
                Check("writes go on once it is healed", "yes", "yes" if back else "no", bool(back))
            )
    if seen.halted is not None:
        checks.append(Check("it ran to its end", "yes", f"halted: {seen.halted}", False))
    return Verdict(times, writer, tuple(checks))


def document(
    name: str,
    plan: Plan,
    seen: Seen,
    objectives: Objectives,
    last: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report, as JSON. `last`: that of the same drill before."""
    verdict = judge(plan, seen, objectives)
    acks = [ack.at for ack in seen.acks]
    report: dict[str, Any] = {
        "id": name,
        **plan.document(),
        "began": seen.began,
        "seconds": round(seen.ended - seen.began, 3),
        "to": verdict.writer,
        "times": {key: _rounded(value) for key, value in asdict(verdict.times).items()},
        "rto_seconds": _rounded(verdict.times.rto),
        "rpo_writes": seen.missing_then,
        "missing_after_healing": seen.missing_after,
        "clients": {
            "acknowledged": len(acks),
            "errors": len(seen.refusals),
            "longest_pause_seconds": _rounded(_longest_pause(acks)),
        },
        "objectives": asdict(objectives),
        "checks": [asdict(check) for check in verdict.checks],
        "passed": verdict.passed,
        "halted": seen.halted,
        "timeline": timeline(seen),
    }
    report["compared"] = compare(report, last) if last else None
    return report


def timeline(seen: Seen) -> list[dict[str, Any]]:
    """What happened when, in seconds since the drill began."""
    moments = [*seen.done]
    moments += [(one.at, f"{one.region}: {one.action}: {one.reason}") for one in seen.said]
    before: Ack | None = None
    for ack in seen.acks:
        if before is None or before.region != ack.region:
            moments.append((ack.at, f"a client's write is acknowledged by {ack.region}"))
        before = ack
    if seen.refusals:
        moments.append((seen.refusals[0], "a client's write fails for the first time"))
    return [{"seconds": round(at - seen.began, 3), "what": what} for at, what in sorted(moments)]


def compare(report: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    """This run minus the last one; null where one of them has no figure."""

    def change(now: Any, then: Any) -> float | None:
        return None if now is None or then is None else round(now - then, 3)

    return {
        "with": last["id"],
        "passed": last["passed"],
        "rto_seconds": change(report["rto_seconds"], last["rto_seconds"]),
        "rpo_writes": change(report["rpo_writes"], last["rpo_writes"]),
        "errors": change(report["clients"]["errors"], last["clients"]["errors"]),
    }


def _times(plan: Plan, seen: Seen) -> Times:
    acks = [ack for ack in seen.acks if ack.at <= seen.healing]
    if plan.expects is Expect.DARK:
        return Times()
    if plan.expects is Expect.STAYS:
        return Times(rto=_longest_pause([ack.at for ack in acks if ack.at >= seen.broken]))
    routed = next(
        (ack.at for ack in acks if ack.at >= seen.broken and ack.region != plan.stage.writer), None
    )
    end = seen.healing if routed is None else routed
    before = [ack.at for ack in acks if ack.region == plan.stage.writer and ack.at < end]
    fault = max([seen.broken, *before])
    others = [one for one in seen.said if one.region != plan.stage.writer and one.at >= fault]
    gates = [one.at for one in seen.gates if _opens(one, plan.stage.writer) and one.at >= fault]

    def after(moments: Sequence[float]) -> float | None:
        return min(moments) - fault if moments else None

    rto = None if routed is None else routed - fault
    return Times(
        detection=after([at for at in seen.refusals if at >= fault]),
        decision=after([one.at for one in others if one.action == "acquire"]),
        promotion=after(gates),
        routing=rto,
        rto=rto,
    )


def _opens(gate: Gate, writer: str) -> bool:
    return gate.region != writer and gate.until > gate.at


def _longest_pause(moments: Sequence[float]) -> float | None:
    pauses = [after - before for before, after in pairwise(moments)]
    return max(pauses, default=None)


def _in_time(rto: float | None, objectives: Objectives) -> Check:
    wanted = f"at most {objectives.rto_seconds:g} s without an acknowledged write"
    if rto is None:
        return Check("in time", wanted, "none was acknowledged", False)
    return Check("in time", wanted, f"{rto:.3f} s", rto <= objectives.rto_seconds)


def _never_two(seen: Seen) -> Check:
    found = both_open(seen.gates)
    both = f"{found[1]} at {found[0] - seen.began:.3f} s" if found else ""
    return Check("never two writers", "one at a time", both or "one at a time", not both)


def both_open(gates: Sequence[Gate]) -> tuple[float, str] | None:
    """The first moment at which two regions' gates were open, as far as the looks at each tell, and
    whose they were. One that the next look finds closed before its time was so at some moment
    between the two: it is known to have been open only when it was seen to be."""
    ordered = sorted(gates, key=lambda one: one.at)
    following: dict[str, Gate] = {}
    ends: list[float] = []
    for gate in reversed(ordered):
        later = following.get(gate.region, gate)
        ends.append(gate.until if later.until >= gate.until else gate.at)
        following[gate.region] = gate
    until: dict[str, float] = {}
    for gate, end in zip(ordered, reversed(ends), strict=True):
        open_now = {region for region, last in until.items() if last > gate.at} - {gate.region}
        until[gate.region] = end
        if gate.until > gate.at and open_now:
            open_now.add(gate.region)
            return gate.at, " and ".join(sorted(open_now))
    return None


def _lawful(plan: Plan, seen: Seen) -> Check:
    allowed = plan.stage.cell.regions
    wrong = sorted({ack.region for ack in seen.acks} - set(allowed))
    found = ", ".join(wrong) or "nobody else"
    return Check("only lawful regions write", ", ".join(allowed), found, not wrong)


def _nothing_lost(seen: Seen, objectives: Objectives) -> Check:
    wanted = f"at most {objectives.rpo_writes} acknowledged writes missing once healed"
    if seen.missing_after is None:
        return Check("nothing is lost", wanted, "not known: a region does not answer", False)
    kept = seen.missing_after <= objectives.rpo_writes
    return Check("nothing is lost", wanted, f"{seen.missing_after} missing", kept)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
