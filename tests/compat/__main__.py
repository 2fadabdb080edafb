"""`python -m tests.compat [SUITE …] [--json FILE]`: apps' own suites, in tenants and without."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.compat.run import MODES, run
from tests.compat.suites import SUITES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], metavar="SUITE")
    parser.add_argument("--json", type=Path, help="write every outcome there")
    chosen = parser.parse_args()
    everything, same = {}, True
    for name in chosen.suites or SUITES:
        verdicts, outcomes = run(SUITES[name])
        everything[name] = outcomes
        for mode in MODES:
            verdict = verdicts[mode]
            same = same and verdict.same
            sys.stdout.write(
                f"{name} {mode}: {verdict.passed} of {verdict.counted} as on plain Django,"
                f" {verdict.excluded} excluded, {len(verdict.differences)} different\n"
            )
            for line in (*verdict.differences, *verdict.needless):
                sys.stdout.write(f"  {line}\n")
        sys.stdout.flush()
    if chosen.json:
        chosen.json.write_text(json.dumps(everything, indent=1))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
