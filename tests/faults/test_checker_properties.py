"""The checker finds whichever loss is planted in a run by the book."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.checker import check
from tests.faults.history import (
    Discarded,
    Entry,
    Event,
    Replica,
)
from tests.faults.test_checker import EU, REGIONS, card, replicas, told, write
from tests.faults.workloads import WORKLOADS


@given(seed=st.integers(0, 2**32), writes=st.integers(2, 40), data=st.data())
def test_whichever_write_a_faultless_run_is_robbed_of_is_found(
    seed: int, writes: int, data: st.DataObject
) -> None:
    """Three regions that exchange what they have now and then, the ledger as it should be; then one
    row of the ledger is gone."""
    history, found, records = simulated(Random(seed), writes)
    assert check(history, found, records, WORKLOADS).faults == []
    if records:
        stolen = data.draw(st.sampled_from(records))
        left = [record for record in records if record.values != stolen.values]
        (line,) = check(history, found, left, WORKLOADS).silent
        assert line.split()[1] in stolen.values


def simulated(
    random: Random, writes: int
) -> tuple[list[Event], list[Replica], Sequence[Discarded]]:
    """One register, last writer wins, by the book."""
    held = dict.fromkeys(REGIONS, (0, ""))
    based: dict[str, str] = {}
    history, entries = [], {}
    records: dict[str, Discarded] = {}

    def merge(target: str, source: str) -> None:
        (mine, theirs) = sorted((held[target], held[source]))
        chain, value = set(), theirs[1]
        while value:
            chain.add(value)
            value = based.get(value, "")
        if mine[1] and mine[1] not in chain:
            records[mine[1]] = Discarded("board_card", frozenset({mine[1]}))
        held[target] = theirs

    for serial in range(1, writes + 1):
        client = random.randint(1, 3)
        operation = write(client, serial)
        seen = held[operation.region][1]
        based[operation.value] = seen
        held[operation.region] = (serial, operation.value)
        entries[operation.number] = Entry((seen,), serial)
        history.append(told(operation))
        if random.random() < 0.4:
            merge(*random.sample(REGIONS, 2))
    for target in REGIONS * 2:
        for source in REGIONS:
            if source != target:
                merge(target, source)
    final = card(title=held[EU][1])
    needed = set(based) - set(based.values()) - {held[EU][1]}
    return history, replicas(final, entries), [records[v] for v in sorted(needed & set(records))]
