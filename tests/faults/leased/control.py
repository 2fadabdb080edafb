"""The negative control: the same clients and the same checker on a cell whose databases have no
fence, while the writer's agent is frozen for longer than its lease lives. Two regions write."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.leased.ground import Ground
from tests.faults.leased.history import Verdict
from tests.faults.leased.rounds import play
from tests.faults.leased.schedule import Fault

SECONDS = 8.0
TRIES = 5  # on a busy machine the other region may be late in taking over


def play_control(ground: Ground, *, tell: Callable[[str], None]) -> Verdict:
    """One round without the fence; its verdict must have faults that clients have seen."""
    (cell,) = [name for name, tenant in ground.tenants.items() if len(tenant.regions) == 2]
    with ground.without_fence(cell):
        for number in range(TRIES):
            seconds = SECONDS * (number + 1)
            frozen = Fault(0.5, seconds - 1.0, "freeze agent", ground.writer(cell), "")
            verdict = play(ground, [frozen], seed=-number, seconds=seconds, tell=tell, cells=[cell])
            if verdict.faults:
                break
    return verdict
