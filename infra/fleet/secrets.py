"""The fleet's secrets: made once, kept in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

ROLES = ("postgres", "meridian_owner", "meridian_app", "meridian_agent")


def load_or_make(state: Path) -> dict[str, Any]:
    """The document of `secrets.json`; makes it at the first call."""
    path = state / "secrets.json"
    if path.exists():
        document: dict[str, Any] = json.loads(path.read_text())
        return document
    document = {
        "passwords": {role: secrets.token_urlsafe(18) for role in ROLES},
        "master_key": secrets.token_hex(32),
        "operator_password": secrets.token_urlsafe(9),
    }
    beside = path.with_suffix(".tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
    beside.rename(path)
    return document
