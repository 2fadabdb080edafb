"""Who works at this terminal, for the audit trail."""

from __future__ import annotations

import getpass


def actor() -> str:
    return f"operator:{getpass.getuser()}"
