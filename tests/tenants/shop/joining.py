"""What the shop makes of texts that were written at once. Agents have it, too: no models here."""

from __future__ import annotations

from collections.abc import Sequence

from regions.replication.resolving import resolver


@resolver(version=1)
def every_line(values: Sequence[str | None]) -> str:
    """Each line that is in any of them, once."""
    return "\n".join(sorted({line for text in values for line in (text or "").splitlines()}))
