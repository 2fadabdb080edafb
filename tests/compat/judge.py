"""Is an app the same inside a tenant as without one? Decided from the outcomes of its own tests.

Pure. Only tests that pass on plain Django count; every exclusion must still be needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

# A test's name → {"outcome": passed | failed | skipped, "why": one line}.
Outcomes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Exclusion:
    """`tests` is a pattern of names, as the shell's; `modes` are those in which they differ."""

    suite: str
    tests: str
    reason: str
    modes: tuple[str, ...] = ("shared", "schema", "dedicated")

    def covers(self, name: str) -> bool:
        return fnmatchcase(name, self.tests)


@dataclass(frozen=True)
class Verdict:
    """`passed` tests are as on plain Django; `excluded` differ as expected. `differences` and
    `needless` exclusions, a sentence each, are what is wrong."""

    counted: int
    passed: int
    excluded: int
    differences: tuple[str, ...]
    needless: tuple[str, ...]

    @property
    def same(self) -> bool:
        return self.counted > 0 and not self.differences and not self.needless


def judge(
    suite: str, mode: str, plain: Outcomes, inside: Outcomes, exclusions: Iterable[Exclusion]
) -> Verdict:
    """`inside` are the outcomes of the same tests in a tenant of the mode."""
    applicable = [each for each in exclusions if each.suite == suite and mode in each.modes]
    counted = [name for name, result in plain.items() if result["outcome"] == "passed"]
    differences, excluded, used = [], 0, set()
    for name in counted:
        result = inside.get(name, {"outcome": "missing", "why": "it did not run"})
        if result["outcome"] == "passed":
            continue
        matching = [each for each in applicable if each.covers(name)]
        if matching:
            excluded += 1
            used.update(matching)
        else:
            differences.append(f"{name} {result['outcome']}: {result['why']}")
    return Verdict(
        counted=len(counted),
        passed=len(counted) - excluded - len(differences),
        excluded=excluded,
        differences=tuple(differences),
        needless=tuple(
            f"{each.tests} needs no exclusion" for each in applicable if each not in used
        ),
    )
