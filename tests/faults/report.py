"""The table that a fault run ends with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.checker import Verdict
from tests.faults.history import Outcome
from tests.faults.workloads.base import Fate

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Line:
    """One run. `must_fail`: it is a negative control."""

    name: str
    seed: int
    verdict: Verdict
    heal_seconds: float
    must_fail: bool = False

    @property
    def good(self) -> bool:
        return self.verdict.passed != self.must_fail

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        verdict = self.verdict
        return {
            "name": self.name,
            "seed": self.seed,
            "control": self.must_fail,
            "good": self.good,
            **self.numbers(),
            "convergence_p50_seconds": round(verdict.p50, 3),
            "convergence_p99_seconds": round(verdict.p99, 3),
            "heal_seconds": round(self.heal_seconds, 3),
            "faults": verdict.faults,
        }

    def numbers(self) -> dict[str, int]:
        verdict = self.verdict
        return {
            "acknowledged": verdict.outcomes[Outcome.OK],
            "maybe": verdict.outcomes[Outcome.MAYBE],
            "failed": verdict.outcomes[Outcome.FAIL],
            "surviving": verdict.fates[Fate.SURVIVES],
            "replaced": verdict.fates[Fate.REPLACED],
            "recorded": verdict.fates[Fate.RECORDED],
            "silent": len(verdict.silent),
            "differing": len(verdict.differences),
            "wrong": len(verdict.wrong),
            "torn": len(verdict.torn),
            "stalls": len(verdict.stalls),
            "undone": len(verdict.undone),
            "early": verdict.early,
        }


def table(lines: Sequence[Line]) -> str:
    """One row a run, and under it what was wrong with it."""
    heads = list(lines[0].numbers()) if lines else []
    width = max((len(line.name) for line in lines), default=0)
    found = [f"{'':{width}}  seed    {'  '.join(heads)}  p50 s  p99 s  heal s"]
    for line in lines:
        numbers = "  ".join(f"{number:>{len(head)}}" for head, number in line.numbers().items())
        verdict = line.verdict
        said = "as it must" if line.must_fail else "ok" if line.good else "FAILED"
        if line.must_fail and not line.good:
            said = "PASSED, and must not"
        found.append(
            f"{line.name:{width}}  {line.seed:<6}  {numbers}"
            f"  {verdict.p50:5.2f}  {verdict.p99:5.2f}  {line.heal_seconds:6.2f}  {said}"
        )
        if not line.good:
            found += [f"    {sentence}" for sentence in verdict.faults[:SHOWN]]
            if further := len(verdict.faults[SHOWN:]):
                found.append(f"    … and {further} more")
    return "\n".join(found)
