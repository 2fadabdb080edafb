"""Background work that the console starts.

Guarantees that work which was delivered twice is begun once, and that its end is recorded: done
with what was measured, or failed with the reason, also if its worker was killed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import Error as DatabaseError

from console.operations.claiming import claim, end_lost
from console.operations.recorder import Recorder, Step, patiently, write_end
from console.specs import topology
from regions.current import deployment
from regions.deployment import CONTROL_CELL
from regions.errors import RegionsError, SwitchoverFailed
from regions.failover.aside import stand_aside
from regions.failover.emptying import bring_home, empty
from regions.failover.operations import failover, switchover
from tenants.databases import control_writer_alias, leases
from tenants.errors import TenantsError
from tenants.lifecycle import move
from tenants.lifecycle.set_policy import set_policy
from tenants.models import Operation

logger = logging.getLogger(__name__)

CATCH_UP_SECONDS = 60.0


@shared_task(name="console.tasks.failover_region")  # type: ignore[untyped-decorator]
def failover_region(operation_id: str) -> None:
    """Move every writer out of the operation's region; the measured result goes into the row."""

    def work(operation: Operation, alias: str, tell: Step) -> dict[str, Any]:
        region = operation.arguments["region"]
        return failover(deployment(), topology(alias), region, actor=operation.actor, progress=tell)

    _carry_out(operation_id, work)


@shared_task(name="console.tasks.switch_over")  # type: ignore[untyped-decorator]
def switch_over(operation_id: str) -> None:
    """Move the writer of the operation's cell; the measured result goes into the row."""

    def work(operation: Operation, alias: str, tell: Step) -> dict[str, Any]:
        cell, to = operation.arguments["cell"], operation.arguments["to"]
        moved = switchover(
            deployment(), topology(alias), cell, to, actor=operation.actor, progress=tell
        )
        return moved | {"cells": [moved]}

    _carry_out(operation_id, work)


@shared_task(name="console.tasks.empty_region")  # type: ignore[untyped-decorator]
def empty_region(operation_id: str) -> None:
    """Switch over every cell that the operation's region writes."""

    def work(operation: Operation, alias: str, tell: Step) -> dict[str, Any]:
        asked = operation.arguments
        how: dict[str, Any] = {"step": asked["step"], "aside": asked["aside"]}
        how |= {"actor": operation.actor, "progress": tell}
        return _whole(empty(deployment(), topology(alias), asked["region"], **how))

    _carry_out(operation_id, work)


@shared_task(name="console.tasks.fail_back")  # type: ignore[untyped-decorator]
def fail_back(operation_id: str) -> None:
    """Switch over to the operation's region what has its home there. If it stood aside it does not
    any more."""

    def work(operation: Operation, alias: str, tell: Step) -> dict[str, Any]:
        where, region = deployment(), operation.arguments["region"]
        stand_aside(where, region, False, by=operation.actor)
        how: dict[str, Any] = {"step": operation.arguments["step"], "patience": CATCH_UP_SECONDS}
        how |= {"actor": operation.actor, "progress": tell}
        return _whole(bring_home(where, topology(alias), region, **how))

    _carry_out(operation_id, work)


@shared_task(name="console.tasks.change_policy")  # type: ignore[untyped-decorator]
def change_policy(operation_id: str) -> None:
    """Give the operation's cell another write policy."""

    def work(operation: Operation, alias: str, tell: Step) -> None:
        wanted = {key: operation.arguments[key] for key in ("policy", "timetable")}
        set_policy(operation.arguments["cell"], **wanted, actor=operation.actor, tell=tell)

    _carry_out(operation_id, work)


@shared_task(name="console.tasks.move_tenant")  # type: ignore[untyped-decorator]
def move_tenant(operation_id: str) -> None:
    """Take the operation's tenant to another place."""

    def work(operation: Operation, alias: str, tell: Step) -> dict[str, Any]:
        where = {kind: operation.arguments.get(kind) for kind in ("cell", "mode")}
        moved = move(operation.slug, **where, actor=operation.actor, progress=tell)
        return {
            "from": moved.source,
            "to": moved.target,
            "rows": moved.rows,
            "pause_ms": moved.pause_ms,
        }

    _carry_out(operation_id, work)


@shared_task(name="console.tasks.end_lost_operations")  # type: ignore[untyped-decorator]
def end_lost_operations() -> int:
    """End what no worker works on, where the control cell is written; returns how many."""
    lease = leases().get(CONTROL_CELL)
    if lease is None or lease.writer != settings.MERIDIAN_REGION:
        return 0
    return end_lost()


def _carry_out(
    operation_id: str, work: Callable[[Operation, str, Step], dict[str, Any] | None]
) -> None:
    operation = patiently(lambda: claim(operation_id))
    if operation is None:
        logger.info("Operation %s is not begun: it is another worker's, or was", operation_id)
        return
    try:
        with Recorder(operation_id) as recorder:
            recorder.step("Reading the map")
            result = work(operation, control_writer_alias(), recorder.step)
    except SoftTimeLimitExceeded:
        limit = settings.CELERY_TASK_SOFT_TIME_LIMIT
        error = f"Not done within {limit} s; what has moved stays moved. Try again to go on."
        write_end(operation_id, state=Operation.State.FAILED, error=error)
        return
    except (RegionsError, TenantsError, DatabaseError, psycopg.Error, OSError) as error:
        logger.warning("%s of %s failed: %s", operation.verb, operation.slug, error)
        write_end(operation_id, state=Operation.State.FAILED, error=str(error))
        return
    write_end(
        operation_id,
        state=Operation.State.DONE,
        step="Done",
        percent=100,
        arguments=operation.arguments | ({"result": _as_json(result)} if result else {}),
    )


def _whole(document: dict[str, Any]) -> dict[str, Any]:
    """Raises SwitchoverFailed if a part is still to be done: the operation can be tried again."""
    if refusal := document.pop("refusal"):
        raise SwitchoverFailed(refusal)
    return document


def _as_json(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document, default=str))
