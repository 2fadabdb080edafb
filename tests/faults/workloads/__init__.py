"""What clients do, one module a kind of data: propose an operation, perform it, judge what is left.

`propose` is a function of the generator that it gets, so a seed replays a run's operations;
`perform` runs in a transaction of the application; `judge` is pure.
"""

from __future__ import annotations

from tests.faults.workloads import (
    bank,
    batches,
    chains,
    claims,
    counters,
    families,
    registers,
    shelves,
    slots,
    tags,
)
from tests.faults.workloads.base import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        registers.Registers("registers", range(1, 9), ("title", "status")),
        registers.Registers("toast", range(11, 15), ("body", "status")),
        registers.Registers("storm", range(20, 21), ("title", "title", "status")),
        counters.Counters(),
        shelves.Shelves(),
        tags.Tags(),
        slots.Slots(),
        chains.Chains(),
        claims.Claims(),
        families.Families(),
        bank.Bank("bank", common=False),
        bank.Bank("exchange", common=True),
        batches.Batches("batches", rows=50),
        batches.Batches("bulk", rows=2_000),
    )
}
