"""What differs inside a tenant, and why that is meant. docs/how-to/try-your-apps-tests.md tells it.

An exclusion that is no longer needed fails the run.
"""

from __future__ import annotations

from tests.compat.judge import Exclusion

EXCLUSIONS: tuple[Exclusion, ...] = ()
