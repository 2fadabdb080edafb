"""Whether a cell's replicas are equal, for tests that changed one."""

from __future__ import annotations

import asyncio
from typing import Any

from regions.current import deployment
from regions.replication.verify import verify
from tenants.seams import cell_spec


def differences(cell: str) -> list[Any]:
    """Of the cell's replicas; they may take a while to catch up."""
    found: list[Any] = asyncio.run(verify(deployment(), cell_spec(cell))).document()["differences"]
    return found
