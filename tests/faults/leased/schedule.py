"""What goes wrong in a round, and when: of its seed alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

# Of a region's process: it stops where it is, or is killed and started again by its supervisor.
PROCESSES = ("postgres", "agent", "web")
KINDS = (
    "kill region",
    "freeze region",
    "freeze postgres",
    "freeze agent",
    "freeze web",
    "crash postgres",
    "crash agent",
    "crash web",
    "isolate",  # both ways from everybody: its clients still reach it
    "cut",  # one link, both ways: connections are reset
    "one way",  # what is sent does not arrive, what is answered does
    "delay",
)
# Of the etcd cluster that grants the leases, if one does: of a member, or of all but that one.
MEMBERS = ("kill member", "freeze member", "lose majority")
LINKS = {"isolate", "cut", "one way", "delay"}
FIRST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` and `seconds` from the beginning of the round; `peer` of a link; `ms` of a delay.
    `region` is etcd's member where that is what breaks."""

    at: float
    seconds: float
    kind: str
    region: str
    peer: str
    ms: float = 0.0

    def __str__(self) -> str:
        link = {"cut": f" ↔ {self.peer}", "one way": f" → {self.peer}", "delay": f" ↔ {self.peer}"}
        much = f" {self.ms:.0f} ms" if self.ms else ""
        where = f"{self.region}{link.get(self.kind, '')}{much}"
        return f"{self.at:4.1f} s  {self.kind} {where} for {self.seconds:.1f} s"


def faults(
    seed: int, seconds: float, regions: Sequence[str], members: Sequence[str] = ()
) -> list[Fault]:
    """Two to four of them, which may overlap. The first two regions, one of which mostly writes,
    suffer twice as often as others. With `members` of an etcd cluster one more befalls those."""
    random = Random(f"leased {seed}")
    found = []
    at = FIRST_SECONDS
    for kind in random.sample(KINDS, random.randint(2, 4)):
        region = random.choice([*regions, *regions[:2]])
        peer = random.choice([one for one in regions if one != region])
        length = random.uniform(1.0, max(2.0, seconds - at))
        ms = round(random.uniform(50, 400)) if kind == "delay" else 0.0
        found.append(Fault(round(at, 2), round(length, 2), kind, region, peer, ms))
        at += random.uniform(0.1, 2.5)
    if members:
        at, length = random.uniform(0, seconds / 2), random.uniform(1.0, seconds / 2)
        kind, member = random.choice(MEMBERS), random.choice(members)
        found.append(Fault(round(at, 2), round(length, 2), kind, member, ""))
    return found
