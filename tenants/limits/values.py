"""Limits as plain values, and how a plan and a tenant's own overrides make them. Pure.

Guarantees that what nobody limits is unlimited, that an override decides alone over the name it
gives (None lifts the plan's limit), and that a tenant without any limit has UNLIMITED itself, so
that the request path can ask with `is`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tenants.errors import InvalidRequest

UNLIMITED_WORD = "unlimited"
FROM_PLAN_WORD = "plan"
LARGEST = 2**53  # JSON's readers keep whole numbers up to here
_SMALLEST = {"statement_ms": 10}
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"^(\d+)\s*(KiB|MiB|GiB|TiB)?$")


@dataclass(frozen=True, slots=True)
class Limits:
    """None is unlimited. All of them hold for one region.

    `requests_per_minute` is an average, `burst` how many may come at once; `concurrent_requests`
    and `tasks` (of Celery) are in flight at the same time; `connections` to its cell are held at
    the same time by whatever works for it; `statement_ms` is the longest that one SQL statement
    runs; `rows` are what the tenant's tables hold, `bytes` what these and its files do.
    """

    requests_per_minute: int | None = None
    burst: int | None = None
    concurrent_requests: int | None = None
    connections: int | None = None
    statement_ms: int | None = None
    rows: int | None = None
    bytes: int | None = None
    tasks: int | None = None

    @property
    def admission(self) -> bool:
        """Whether a request has to ask before it is let in."""
        return self.requests_per_minute is not None or self.concurrent_requests is not None

    @property
    def quota(self) -> bool:
        """Whether what the tables hold is limited."""
        return self.rows is not None or self.bytes is not None

    @property
    def burst_size(self) -> int:
        """As given; else six seconds' worth of requests."""
        return self.burst or max(1, (self.requests_per_minute or 0) // 10)


UNLIMITED = Limits()
NAMES = tuple(field.name for field in fields(Limits))


def resolve(plan: Mapping[str, Any], override: Mapping[str, Any]) -> Limits:
    """The limits in force. Names that this version does not know are left out, so that a newer
    region's map can be read. Raises ValueError on a value that is no limit."""
    named = {**plan, **override}
    chosen = {name: _valid(name, named[name]) for name in NAMES if named.get(name) is not None}
    return Limits(**chosen) if chosen else UNLIMITED


def document(limits: Limits) -> dict[str, int | None]:
    """Every name with its value; None is unlimited."""
    return {name: getattr(limits, name) for name in NAMES}


def check(values: Mapping[str, Any]) -> dict[str, int | None]:
    """The same, as a plan or an override may hold it. Raises InvalidRequest."""
    for name, value in values.items():
        _require_known(name)
        if value is not None:
            try:
                _valid(name, value)
            except ValueError as wrong:
                raise InvalidRequest(f"{wrong}.") from None
    return dict(values)


def read_changes(texts: Mapping[str, str]) -> dict[str, int | str | None]:
    """What people write: `5`, `10GiB`, `unlimited` (None), `plan` (as it is). Raises
    InvalidRequest."""
    changes: dict[str, int | str | None] = {}
    for name, text in texts.items():
        _require_known(name)
        match text:
            case "unlimited":
                changes[name] = None
            case "plan":
                changes[name] = FROM_PLAN_WORD
            case _:
                changes[name] = _number(name, text)
                check({name: changes[name]})
    return changes


def changed(
    values: Mapping[str, Any], changes: Mapping[str, int | str | None]
) -> dict[str, int | None]:
    """`values` with the changes made; `plan` takes a name out, so that the plan decides."""
    together = {**values, **changes}
    return check({name: value for name, value in together.items() if value != FROM_PLAN_WORD})


def _number(name: str, text: str) -> int:
    found = _SIZE.match(text)
    if not found or (found[2] and name != "bytes"):
        unit = ", with KiB, MiB, GiB or TiB behind it if you like" if name == "bytes" else ""
        raise InvalidRequest(
            f"{name}={text!r} is no limit: write a whole number{unit}, "
            f"{UNLIMITED_WORD!r} or {FROM_PLAN_WORD!r}."
        )
    return int(found[1]) * _UNITS[found[2] or ""]


def _require_known(name: str) -> None:
    if name not in NAMES:
        raise InvalidRequest(f"{name!r} is no limit. Limits: {', '.join(NAMES)}.")


def _valid(name: str, value: Any) -> int:
    least = _SMALLEST.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        raise ValueError(f"{name} is a whole number from {least} to {LARGEST}, not {value!r}")
    return value
