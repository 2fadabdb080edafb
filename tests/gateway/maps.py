"""Writes a region's map files the way its agent does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from regions.mapfile import publish_document

ACME = UUID(int=1)


def cell(name: str, *regions: str, policy: str = "active_passive") -> dict[str, Any]:
    return {"name": name, "mode": "shared", "policy": policy, "regions": list(regions)}


def tenant(slug: str, cell: str, *, id: UUID = ACME, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(id),
        "slug": slug,
        "cell": cell,
        "mode": "shared",
        "schema": "public",
        "state": "active",
        "residency": "EU",
        "token_generation": 1,
        "hosts": [f"{slug}.localhost"],
        **fields,
    }


def publish(
    folder: Path,
    *,
    cells: Iterable[dict[str, Any]] = (),
    tenants: Iterable[dict[str, Any]] = (),
    writers: dict[str, str] | None = None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    leases = {name: {"writer": writer, "epoch": 1} for name, writer in (writers or {}).items()}
    publish_document(folder / "topology.json", {"version": 1, "cells": list(cells)})
    publish_document(folder / "directory.json", {"version": 1, "tenants": list(tenants)})
    publish_document(folder / "leases.json", {"region": folder.name, "at": "", "cells": leases})
