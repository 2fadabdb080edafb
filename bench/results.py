"""`bench/results.json`: every key's last result. A run replaces only what it measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.frame import Result

PATH = Path(__file__).with_name("results.json")


def merge(results: Mapping[str, Result], path: Path = PATH) -> None:
    """Put `results` into the file, by rename: it is never half written."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known |= {key: result.document() for key, result in results.items()}
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    beside.rename(path)
