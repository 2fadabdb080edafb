"""One suite on plain Django and in a tenant of each mode, on the same PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.compat.exclusions import EXCLUSIONS
from tests.compat.fetch import fetch
from tests.compat.judge import Verdict, judge
from tests.compat.region import Place, start
from tests.compat.suites import Suite

MODES = ("shared", "schema", "dedicated")


def run(
    suite: Suite, *, only: Sequence[str] = ()
) -> tuple[Mapping[str, Verdict], Mapping[str, Any]]:
    """Verdicts by mode, and all outcomes. `only` are pytest's own arguments that choose tests;
    exclusions that concern none of them are left aside."""
    fetch(suite)
    with start(suite) as place, ThreadPoolExecutor(2) as pool:
        found = dict(
            zip(
                ("plain", *MODES),
                pool.map(lambda mode: outcomes(place, mode, only), ("plain", *MODES)),
                strict=True,
            )
        )
    exclusions = [
        each for each in EXCLUSIONS if not only or any(each.covers(name) for name in found["plain"])
    ]
    verdicts = {
        mode: judge(suite.name, mode, found["plain"], found[mode], exclusions) for mode in MODES
    }
    return verdicts, found


def outcomes(place: Place, mode: str, only: Sequence[str]) -> Any:
    """What became of each test in the mode."""
    file = place.state / f"{mode}.json"
    place.child(mode, "run", str(file), arguments=only)
    return json.loads(file.read_text())
