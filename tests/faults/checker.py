"""Judges a run by its history and by what the replicas hold after it. Pure.

Nothing that was acknowledged may be gone without a record, nothing that failed may be there, and
every replica holds the same, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.history import Committed, Discarded, Event, Operation, Outcome, Replica
from tests.faults.workloads.base import Evidence, Fate, Judgement, Workload

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen while it ran and until it was quiet: torn transactions, looks at which a third
    region's word was ahead of a transaction's other half, directed pairs that did not catch up once
    everything was mended, seconds from acknowledgement to arrival elsewhere, changes of the cell's
    regions that were never carried out."""

    torn: Sequence[str] = ()
    early: int = 0
    stalls: Sequence[str] = ()
    delays: Sequence[float] = ()
    undone: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fates` counts the acknowledged writes; the lists are sentences, and a run passes without."""

    outcomes: Counter[Outcome]
    fates: Counter[Fate]
    silent: list[str]
    differences: list[str]
    wrong: list[str]
    torn: list[str]
    stalls: list[str]
    undone: list[str]
    early: int
    p50: float
    p99: float

    @property
    def passed(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> list[str]:
        lost = [*self.silent, *self.differences, *self.wrong, *self.torn]
        return [*lost, *self.stalls, *self.undone]


def check(
    history: Sequence[Event],
    replicas: Sequence[Replica],
    discarded: Iterable[Discarded],
    workloads: Mapping[str, Workload],
    observed: Observed = Observed(),
) -> Verdict:
    """The verdict on one run."""
    records = list(discarded)
    known = {event.operation.number: event for event in history}
    fates: dict[int, Fate] = {}
    wrong: dict[str, None] = {}
    for replica in replicas:
        for judgement in _judgements(replica, records, known, workloads):
            wrong |= dict.fromkeys(judgement.wrong)
            for number, fate in judgement.fates.items():
                fates[number] = max(fates.get(number, fate), fate, key=list(Fate).index)
        wrong |= dict.fromkeys(_impossible(replica, known))
        for event in history:
            operation = event.operation
            if event.outcome is Outcome.OK and operation.number not in replica.entries:
                fates[operation.number] = Fate.SILENT
    told = [event.operation for event in history if event.outcome is Outcome.OK]
    silent = [operation for operation in told if fates.get(operation.number) is Fate.SILENT]
    delays = sorted(observed.delays)
    return Verdict(
        outcomes=Counter(event.outcome for event in history),
        fates=Counter(fates[each.number] for each in told if each.number in fates),
        silent=[_lost(operation) for operation in silent],
        differences=list(_differences(replicas)),
        wrong=list(wrong),
        torn=list(observed.torn),
        stalls=list(observed.stalls),
        undone=list(observed.undone),
        early=observed.early,
        p50=delays[len(delays) // 2] if delays else 0.0,
        p99=delays[len(delays) * 99 // 100] if delays else 0.0,
    )


def _judgements(
    replica: Replica,
    records: list[Discarded],
    known: Mapping[int, Event],
    workloads: Mapping[str, Workload],
) -> Iterable[Judgement]:
    evidence = Evidence(replica.tables, records)
    done: dict[str, list[Committed]] = {}
    for number, entry in sorted(replica.entries.items()):
        if number in known:
            operation = known[number].operation
            each = Committed(operation, entry.seen, entry.stamp)
            done.setdefault(operation.workload, []).append(each)
    for name, committed in done.items():
        yield workloads[name].judge(committed, evidence)


def _impossible(replica: Replica, known: Mapping[int, Event]) -> Iterable[str]:
    for number in replica.entries:
        event = known.get(number)
        if event is None:
            yield f"{replica.region} has operation {number}, which nobody invoked"
        elif event.outcome is Outcome.FAIL:
            yield f"{replica.region} has operation {number}, which failed ({event.reason})"


def _differences(replicas: Sequence[Replica]) -> Iterable[str]:
    for table in sorted({table for replica in replicas for table in replica.texts}):
        rows = [replica.texts.get(table, {}) for replica in replicas]
        keys = sorted(set().union(*rows))
        differing = [key for key in keys if len({texts.get(key) for texts in rows}) > 1]
        for key in differing[:SHOWN]:
            versions = "; ".join(
                f"{replica.region} {_short(texts.get(key))}"
                for replica, texts in zip(replicas, rows, strict=True)
            )
            yield f"{table} {key} differs: {versions}"
        if further := len(differing[SHOWN:]):
            yield f"{table}: {further} more rows differ"


def _lost(operation: Operation) -> str:
    return (
        f"operation {operation.number} in {operation.region} was acknowledged and is gone: "
        f"{operation.kind} {operation.about}"
    )


def _short(text: str | None) -> str:
    return "has none" if text is None else text[:300]
