"""Which workloads run together, how fast, and on which ground. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.schedule import EXPEL, KINDS, LASTING, LEAVE, LOST_SLOT, RESTORE

LINKS = ("delay", "black hole", "cut")
# Longer than a sender waits for a silent receiver.
LONG = ("black hole", "cut", "narrow")
LONG_SECONDS = (12.0, 16.0)
# A replica that is seeded again is repaired row by row: what is torn meanwhile is no fault.
REPAIRABLE = ("registers", "toast", "counters", "chains", "tags")


@dataclass(frozen=True, slots=True)
class Scenario:
    """`rate`: operations a second of each client. `control`: not the fabric's, it must fail, and
    `seconds` are enough for that. `over`: what happens beyond a log budget that is soon used up."""

    name: str
    workloads: tuple[str, ...]
    rate: float = 10.0
    kinds: tuple[str, ...] = KINDS
    pause: float = 2.0  # between faults, on an average
    lasting: tuple[float, float] = LASTING
    over: str = ""
    control: str = ""
    seconds: float = 10.0


# Those of the controls that their tables can take at all.
PLAIN = ("registers", "counters", "slots", "chains", "exchange", "batches")

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("fields", ("registers", "toast", "counters")),
        Scenario("stock", ("shelves", "counters")),
        Scenario("storm", ("storm",), rate=25.0),
        Scenario("rows", ("slots", "chains", "families", "tags")),
        Scenario("claims", ("claims", "registers")),
        Scenario("transactions", ("bank", "exchange", "batches", "registers")),
        Scenario("bulk", ("bulk", "bank"), rate=0.8),
        Scenario(
            "reseed",
            REPAIRABLE,
            kinds=(LOST_SLOT, "kill postgres", "restart agent", "delay"),
            pause=4.0,
        ),
        Scenario(
            "members",
            (*REPAIRABLE, "shelves"),
            kinds=(LEAVE, "delay", "restart agent", "black hole"),
            pause=3.0,
        ),
        Scenario(
            "expelled",
            (*REPAIRABLE, "shelves"),
            kinds=(EXPEL, "delay", "restart agent"),
            pause=4.0,
        ),
        Scenario(
            "restored",
            REPAIRABLE,
            kinds=(RESTORE, "delay", "restart agent"),
            pause=4.0,
            lasting=(3.0, 6.0),
        ),
        Scenario("refused", REPAIRABLE, kinds=LONG, pause=8.0, lasting=LONG_SECONDS, over="refuse"),
        Scenario("let-go", REPAIRABLE, kinds=LONG, pause=8.0, lasting=LONG_SECONDS, over="let-go"),
        Scenario("control-plain", PLAIN, kinds=LINKS, control="plain"),
        Scenario("control-row-lww", PLAIN, kinds=LINKS, control="row_lww"),
    )
}


def scenario_of(name: str) -> Scenario:
    """One of those, or a workload by itself."""
    return SCENARIOS.get(name) or Scenario(name, (name,), rate=0.5 if name == "bulk" else 10.0)


# What `make test` runs: a little of everything, and the control that is nearest to being right.
SHORT = Scenario(
    "short",
    (
        "registers",
        "counters",
        "shelves",
        "slots",
        "chains",
        "claims",
        "bank",
        "exchange",
        "batches",
        "tags",
    ),
    kinds=("kill postgres", "black hole", "restart agent", "delay"),
    pause=0.7,
)
# Nothing in it stalls: it only loses.
CONTROL = Scenario(
    "control", ("registers", "counters"), rate=20.0, kinds=(), control="row_lww", seconds=2.5
)
