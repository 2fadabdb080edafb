"""Entries of the ledger, and which of them somebody asks for. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from regions.replication.capture import HIDDEN_COLUMNS
from tenants.errors import InvalidRequest
from tenants.isolation.rewrite import TENANT_COLUMN

MOST = 200

# What the ledger's rules are called to ask for them.
KINDS: Mapping[str, str] = {
    "field": "last writer wins",
    "delete": "later delete wins",
    "unique": "first claim wins",
    "repair": "repair",
    "reference": "its reference was deleted",
}
# The platform's own columns in a whole row are not the tenant's affair.
_OURS = frozenset({*HIDDEN_COLUMNS, TENANT_COLUMN})
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC).timestamp()


def time_of(stamp: int) -> datetime:
    """When a stamp was given, by the clock of whoever gave it."""
    return datetime.fromtimestamp(_EPOCH + (stamp >> 8) / 1e6, UTC)


def stamp_at(time: datetime) -> int:
    """The least stamp of a moment."""
    return round((time.timestamp() - _EPOCH) * 1e6) << 8


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last entry of a page: the next one begins after it."""

    stamp: int
    id: UUID

    def __str__(self) -> str:
        text = f"{self.stamp}.{self.id.hex}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises InvalidRequest."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            stamp, _, id_ = raw.partition(".")
            return cls(int(stamp), UUID(id_))
        except (ValueError, binascii.Error):
            raise InvalidRequest(
                f"{text!r} is no place in a list: take `next` of a page."
            ) from None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Entries that somebody asks for, the newest first. None: whatever it is."""

    id: UUID | None = None
    table: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: Cursor | None = None
    most: int = 50

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise InvalidRequest(f"No kind is called {self.kind!r}. Kinds: {', '.join(KINDS)}.")
        if not 1 <= self.most <= MOST:
            raise InvalidRequest(f"A page has from 1 to {MOST} entries, not {self.most}.")

    @property
    def arguments(self) -> list[Any]:
        """Of `tenancy.conflicts`."""
        return [
            self.id,
            [self.table] if self.table else None,
            [KINDS[self.kind]] if self.kind else None,
            stamp_at(self.since) if self.since else None,
            stamp_at(self.until) if self.until else None,
            self.after.stamp if self.after else None,
            self.after.id if self.after else None,
            self.most + 1,
        ]


@dataclass(frozen=True, slots=True)
class Entry:
    """A lost value, and what it lost to. `field` is `*` for a whole row: then the values are
    objects of texts, by column; the winner is None where the row was deleted or is another one."""

    id: UUID
    stamp: int
    recorded_at: datetime
    table: str
    key: Mapping[str, str]
    field: str
    rule: str
    loser_stamp: int
    loser: Any
    winner_stamp: int
    winner: Any
    restored_at: datetime | None
    restored_by: str | None
    restored_in: str | None

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.stamp, self.id)

    @property
    def kind(self) -> str:
        rule = self.rule.partition(":")[0]
        return next((kind for kind, name in KINDS.items() if name == rule), rule)

    def document(self, regions: Mapping[int, str], seen_in: list[str]) -> dict[str, Any]:
        """`regions`: their names by node; `seen_in`: those whose ledger has the entry."""
        return {
            "id": str(self.id),
            "table": self.table,
            "key": dict(self.key),
            "field": self.field,
            "kind": self.kind,
            "rule": self.rule,
            "loser": _version(self.loser, self.loser_stamp, regions),
            "winner": _version(self.winner, self.winner_stamp, regions),
            "recorded_at": self.recorded_at.isoformat(),
            "recorded_in": seen_in,
            "restored": {
                "at": self.restored_at.isoformat(),
                "by": self.restored_by,
                "region": self.restored_in,
            }
            if self.restored_at
            else None,
        }


def _version(value: Any, stamp: int, regions: Mapping[int, str]) -> dict[str, Any]:
    if isinstance(value, dict):
        value = {column: text for column, text in value.items() if column not in _OURS}
    return {
        "value": value,
        "stamp": stamp,
        "written_at": time_of(stamp).isoformat(),
        "region": regions.get(stamp & 255),
    }
