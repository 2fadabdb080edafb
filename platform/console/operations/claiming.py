"""Who works on an operation: one worker, once, soon after it was asked for.

Guarantees that a message which comes again (its worker was killed, its region was away with its
broker) starts nothing: its operator has looked elsewhere by then. What nobody works on ends as
failed, with the reason, and can be tried again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from tenants.databases import control_writer_alias
from tenants.models import Operation

LATE = timedelta(minutes=2)
SILENCE = timedelta(minutes=1)  # whoever works on one is heard from each five seconds
_TOO_LATE = (
    "No worker took it up within two minutes, and none will now: nothing was done. Are this "
    "region's workers running? Try again."
)
_LOST = (
    "Its worker was not heard from for a minute: it was killed, or is cut off. What it had asked "
    "for is done by now or won't be; what has moved stays moved. Try again to do what is left."
)


def claim(operation_id: str) -> Operation | None:
    """The operation, to be worked on by who asks; None: it is somebody else's, has ended, or is
    too old. May raise what a database without a writer raises."""
    mine = Operation.objects.using(control_writer_alias()).filter(id=operation_id)
    asked = mine.filter(state=Operation.State.QUEUED, updated_at__gt=Now() - LATE)
    claimed = asked.update(state=Operation.State.RUNNING, updated_at=Now())
    return mine.get() if claimed else None


def end_lost() -> int:
    """End what nobody works on, but for onboarding, which is taken up again; returns how many."""
    found = Operation.objects.using(control_writer_alias()).exclude(verb="provision")
    failed: dict[str, Any] = {"state": Operation.State.FAILED, "updated_at": Now()}
    waiting = found.filter(state=Operation.State.QUEUED, updated_at__lt=Now() - LATE)
    silent = found.filter(state=Operation.State.RUNNING, updated_at__lt=Now() - SILENCE)
    return waiting.update(**failed, error=_TOO_LATE) + silent.update(**failed, error=_LOST)
