"""Background work that the console starts.

Guarantees that a failover which was delivered twice is not done again once it has ended, and
that its end is recorded: done with what was measured, or failed with the reason.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import psycopg
from celery import shared_task
from django.db import Error as DatabaseError

from console.operations.recorder import Recorder, write_end
from console.specs import topology
from regions.current import deployment
from regions.errors import RegionsError
from regions.failover.operations import failover
from tenants.databases import control_writer_alias
from tenants.models import Operation

logger = logging.getLogger(__name__)


@shared_task(name="console.tasks.failover_region")  # type: ignore[untyped-decorator]
def failover_region(operation_id: str) -> None:
    """Move every writer out of the operation's region; the measured result goes into the row."""
    alias = control_writer_alias()
    operation = Operation.objects.using(alias).get(id=operation_id)
    if operation.state in (Operation.State.DONE, Operation.State.FAILED):
        return
    try:
        with Recorder(operation_id) as recorder:
            recorder.step("Reading the map")
            result = failover(
                deployment(),
                topology(alias),
                operation.arguments["region"],
                actor=operation.actor,
                progress=recorder.step,
            )
    except (RegionsError, DatabaseError, psycopg.Error, OSError) as error:
        logger.warning("failover of %s failed: %s", operation.slug, error)
        write_end(operation_id, state=Operation.State.FAILED, error=str(error))
        return
    write_end(
        operation_id,
        state=Operation.State.DONE,
        step="Done",
        percent=100,
        arguments=operation.arguments | {"result": _as_json(result)},
    )


def _as_json(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document, default=str))
