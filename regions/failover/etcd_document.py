"""One cell's lease as it is kept in etcd."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from secrets import token_hex


@dataclass(frozen=True, slots=True)
class Document:
    """`given`: not let go. `mark` makes every value another one."""

    promised: int = 0
    ballot: int = 0
    holder: str | None = None
    epoch: int = 0
    given: bool = False
    successor: str | None = None
    reserved: float = 0.0
    mark: str = field(default_factory=lambda: token_hex(8))

    def changed(self, **to: object) -> Document:
        return replace(self, mark=token_hex(8), **to)  # type: ignore[arg-type]

    def same_lease(self, other: Document) -> bool:
        return replace(self, promised=0, mark="") == replace(other, promised=0, mark="")

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))
