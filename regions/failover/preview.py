"""What losing regions would do to each cell. Pure, so that it can be shown before it is done.

The regions of a cell are the lawful ones by construction (a cell's database exists nowhere
else), so the candidates are the cell's other regions, in its order of preference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from regions.topology import Lease, Topology


@dataclass(frozen=True, slots=True)
class Move:
    """The cell's writer goes to `to`; `others` would be next."""

    cell: str
    to: str
    others: tuple[str, ...]
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dark:
    """Nobody else may write the cell: its tenants are unavailable while the region is lost."""

    cell: str
    reason: str
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stays:
    """The cell goes on where it is written; `note` says what it loses."""

    cell: str
    note: str
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    lost: tuple[str, ...]
    moves: tuple[Move, ...]
    dark: tuple[Dark, ...]
    stays: tuple[Stays, ...]

    @property
    def tenants_moving(self) -> int:
        return sum(len(move.tenants) for move in self.moves)

    @property
    def tenants_dark(self) -> int:
        return sum(len(dark.tenants) for dark in self.dark)


def preview(
    topology: Topology,
    leases: Mapping[str, Lease],
    *lost: str,
    up: Collection[str],
    tenants: Mapping[str, Sequence[str]],
) -> Preview:
    """Sort the cells with a replica in a lost region into those that move, go dark or stay.

    `up` are the regions that answer now, `tenants` the slugs by cell.
    """
    moves: list[Move] = []
    dark: list[Dark] = []
    stays: list[Stays] = []
    for spec in sorted(topology.cells.values(), key=lambda cell: cell.name):
        gone = [region for region in spec.regions if region in lost]
        if not gone:
            continue
        slugs = tuple(tenants.get(spec.name, ()))
        others = [other for other in spec.regions if other not in lost]
        alive = [other for other in others if other in up]
        lease = leases.get(spec.name)
        if spec.policy.leased and lease is not None and lease.writer not in lost:
            stays.append(Stays(spec.name, _stand_by_note(lease.writer, alive), slugs))
        elif not alive:
            dark.append(Dark(spec.name, _dark_reason(gone, others), slugs))
        elif spec.policy.leased:
            moves.append(Move(spec.name, alive[0], tuple(alive[1:]), slugs))
        else:
            note = f"Written by {', '.join(alive)} all along; loses {', '.join(gone)}."
            stays.append(Stays(spec.name, note, slugs))
    return Preview(lost, tuple(moves), tuple(dark), tuple(stays))


def _stand_by_note(writer: str, alive: Sequence[str]) -> str:
    left = [region for region in alive if region != writer]
    if left:
        return f"Written in {writer}; {', '.join(left)} still stands by."
    return f"Written in {writer}; loses its last standby."


def _dark_reason(gone: Sequence[str], others: Sequence[str]) -> str:
    if not others:
        only = f"{gone[0]} is the only region" if len(gone) == 1 else f"{', '.join(gone)} are all"
        return f"{only} that its tenants' law allows."
    return f"Its other lawful regions do not answer: {', '.join(others)}."
