"""What can be practised: each scenario as steps, told to the tool that breaks things. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from regions.errors import UnknownScenario
from regions.topology import CellSpec

HEAL = ("heal",)
SLOW_MS = "150"
FLAPS = 3


class Expect(StrEnum):
    MOVES = "moves"  # another lawful region writes
    STAYS = "stays"  # the same region goes on writing
    DARK = "dark"  # nobody writes until it is healed


@dataclass(frozen=True, slots=True)
class Stage:
    """What a scenario is played on: a leased cell, who writes it, the deployment's regions with
    their jurisdictions, and whether etcd grants leases: then regions that are lost have no vote."""

    cell: CellSpec
    writer: str
    jurisdictions: Mapping[str, str]
    etcd: bool = False

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(self.jurisdictions)

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(region for region in self.regions if region != self.writer)

    @property
    def peer(self) -> str:
        """The region that would write next; another one where the cell has no other."""
        standby = [region for region in self.cell.regions if region != self.writer]
        return (standby or list(self.others))[0]

    @property
    def same_law(self) -> tuple[str, ...]:
        """Every region of the writer's jurisdiction."""
        law = self.jurisdictions[self.writer]
        return tuple(region for region, own in self.jurisdictions.items() if own == law)


@dataclass(frozen=True, slots=True)
class Step:
    """`words` for the tool, `after` so many seconds since the first step."""

    after: float
    words: tuple[str, ...]
    says: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """`lost`: the regions that writers must leave; `quorum`: whether a majority still agrees;
    `lasts`: seconds from the last step until it is healed; `with_etcd`: what is expected where
    etcd grants leases, if it is something else."""

    name: str
    title: str
    expects: Expect
    lasts: float
    steps: Callable[[Stage], tuple[Step, ...]]
    lost: Callable[[Stage], tuple[str, ...]] = lambda stage: ()
    quorum: bool = True
    with_etcd: Expect | None = None

    def expected(self, stage: Stage) -> Expect:
        return self.with_etcd or self.expects if stage.etcd else self.expects


def find(name: str) -> Scenario:
    try:
        return SCENARIOS[name]
    except KeyError:
        known = ", ".join(SCENARIOS)
        raise UnknownScenario(f"No scenario is called {name!r}. Scenarios: {known}.") from None


def _kill(region: str, after: float = 0.0) -> Step:
    words = ("break", "region", region, "--how", "kill")
    return Step(after, words, f"{region} loses its power")


def _cut(a: str, b: str, after: float = 0.0) -> Step:
    return Step(after, ("break", "link", a, b), f"the link between {a} and {b} is cut")


def _kill_region(stage: Stage) -> tuple[Step, ...]:
    return (_kill(stage.writer),)


def _freeze_database(stage: Stage) -> tuple[Step, ...]:
    process = f"{stage.writer}:postgres"
    words = ("break", "process", process, "--how", "freeze")
    return (Step(0.0, words, f"the database of {stage.writer} stops where it is"),)


def _cut_link(stage: Stage) -> tuple[Step, ...]:
    return (_cut(stage.writer, stage.peer),)


def _one_way_cut(stage: Stage) -> tuple[Step, ...]:
    words = ("break", "link", stage.writer, stage.peer, "--one-way")
    return (Step(0.0, words, f"nothing from {stage.writer} arrives in {stage.peer} any more"),)


def _slow_wan(stage: Stage) -> tuple[Step, ...]:
    return tuple(
        Step(
            0.0,
            ("break", "link", a, b, "--latency", SLOW_MS),
            f"{a} and {b} are {SLOW_MS} ms from each other",
        )
        for a, b in combinations(stage.regions, 2)
    )


def _lose_quorum(stage: Stage) -> tuple[Step, ...]:
    if stage.etcd:
        return (Step(0.0, ("break", "store"), "no agent reaches etcd"),)
    return tuple(_cut(a, b) for a, b in combinations(stage.regions, 2))


def _lose_jurisdiction(stage: Stage) -> tuple[Step, ...]:
    return tuple(_kill(region) for region in stage.same_law)


def _split_brain(stage: Stage) -> tuple[Step, ...]:
    return tuple(_cut(stage.writer, other) for other in stage.others)


def _flapping(stage: Stage) -> tuple[Step, ...]:
    """Shorter than a lease, again and again."""
    return tuple(
        Step(4.0 * number + begin, words, says)
        for number in range(FLAPS)
        for begin, words, says in (
            (0.0, ("break", "link", stage.writer, stage.peer), "the link goes"),
            (1.0, ("heal", "link", stage.writer, stage.peer), "the link comes back"),
        )
    )


def _writer(stage: Stage) -> tuple[str, ...]:
    return (stage.writer,)


def _writer_without_votes(stage: Stage) -> tuple[str, ...]:
    """Its link to etcd is not among those that are cut."""
    return () if stage.etcd else (stage.writer,)


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "kill-region",
            "The writer's region loses its power.",
            Expect.MOVES,
            8.0,
            _kill_region,
            _writer,
        ),
        Scenario(
            "freeze-database",
            "The writer's PostgreSQL stops answering, without ending.",
            Expect.MOVES,
            10.0,
            _freeze_database,
            _writer,
        ),
        Scenario(
            "cut-link",
            "The writer and its standby can't reach each other.",
            Expect.STAYS,
            8.0,
            _cut_link,
        ),
        Scenario(
            "one-way-cut",
            "What the writer sends to its standby is lost; the other way is fine.",
            Expect.STAYS,
            8.0,
            _one_way_cut,
        ),
        Scenario(
            "slow-wan",
            "All regions are far from each other.",
            Expect.STAYS,
            12.0,
            _slow_wan,
        ),
        Scenario(
            "lose-quorum",
            "The lease store has no majority: no lease is granted.",
            Expect.DARK,
            10.0,
            _lose_quorum,
            quorum=False,
        ),
        Scenario(
            "lose-jurisdiction",
            "Every region of the writer's jurisdiction is lost.",
            Expect.DARK,
            10.0,
            _lose_jurisdiction,
            lambda stage: stage.same_law,
        ),
        Scenario(
            "split-brain",
            "The writer is cut off from every region, and clients still reach it.",
            Expect.MOVES,
            10.0,
            _split_brain,
            _writer_without_votes,
            with_etcd=Expect.STAYS,
        ),
        Scenario(
            "flapping",
            "The link to the standby comes and goes, faster than a lease ends.",
            Expect.STAYS,
            4.0,
            _flapping,
        ),
    )
}
