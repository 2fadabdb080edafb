"""`python -m bench [AREA…] [--only KEY-PREFIX] [--quick]`: measure, and merge the results.

Status 0: everything was measured, whatever came out; 1: something could not be; 2: bad usage.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Column, Table

from bench.frame import Bench, Result
from bench.results import merge

FOLDER = Path(__file__).parent
NOT_AREAS = {"peers"}


def modules(area: str) -> Iterator[ModuleType]:
    """The benchmark modules of one area, in the order of their names."""
    for found in pkgutil.iter_modules([str(FOLDER / area)]):
        module = import_module(f"bench.{area}.{found.name}")
        if hasattr(module, "KEYS"):
            yield module


def areas() -> list[str]:
    packages = {found.name for found in pkgutil.iter_modules([str(FOLDER)]) if found.ispkg}
    return sorted(packages - NOT_AREAS)


def main() -> int:
    sys.path.insert(1, str(FOLDER.parent / "platform"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    known = areas()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(known)}")
    parser.add_argument("--only", default="", metavar="KEY-PREFIX", help="measure these keys")
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    options = parser.parse_args()
    if unknown := set(options.areas) - set(known):
        parser.error(f"no area is called {', '.join(sorted(unknown))}: choose {', '.join(known)}")
    bench = Bench(only=options.only, quick=options.quick)
    chosen = [
        module
        for area in options.areas or known
        for module in modules(area)
        if any(bench.wants(key) for key in module.KEYS)
    ]
    if not chosen:
        parser.error(f"no key starts with {options.only!r}")
    broken = []
    with bench.closing:
        for module in chosen:
            bench.say(module.__name__)
            try:
                module.run(bench)
            except Exception:  # noqa: BLE001 - the other modules' results are worth having
                traceback.print_exc()
                broken.append(module.__name__)
            if not bench.quick:
                merge(bench.results)
    _show(bench.results)
    if broken:
        print(f"Not measured: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def _show(results: dict[str, Result]) -> None:
    table = Table(Column("key", no_wrap=True), "value", "unit", "target", "met", "spread", "runs")
    for key, result in sorted(results.items()):
        sign = ">=" if result.better == "higher" else "<="
        target = "" if result.target is None else f"{sign} {result.target:g}"
        met = {True: "yes", False: "NO", None: ""}[result.met]
        low, high = result.spread
        table.add_row(
            key,
            f"{result.value:g}",
            result.unit,
            target,
            met,
            f"{low:g} … {high:g}",
            str(result.runs),
        )
    Console(width=max(140, Console().width)).print(table)


if __name__ == "__main__":
    sys.exit(main())
