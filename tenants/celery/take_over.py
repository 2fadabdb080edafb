"""Tells a region's broker of what is to be done in the cells that the region writes.

Guarantees that a task which was left to a lost region, or broker, or process, or worker is put into
the broker of the region that writes its cell now. Telling twice is harmless: a worker looks at the
task's row before it begins.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import psycopg
from celery import current_app

from regions.cli import one_line
from regions.current import deployment
from regions.deployment import AGENT_ROLE
from regions.failover.reporting import FILE
from regions.topology import CellSpec
from tenants.celery.kept import RING_SECONDS
from tenants.celery.letter import publish
from tenants.seams import local_topology

logger = logging.getLogger(__name__)

AT_ONCE = 500
CONNECT_SECONDS = 3

_DUE = """
SELECT tenant_id, id, name, queue, message, region FROM fabric.task_due ORDER BY sent_at LIMIT %s
"""
# Told of: the longer it has waited, the later again. A claim under an ended lease is none.
_TOLD = """
UPDATE fabric.task t
   SET region = m.region, epoch = g.epoch, lost = t.lost + (t.claimed_at IS NOT NULL)::integer,
       claimed_at = NULL, worker = NULL,
       ring_at = now() + greatest(now() - t.sent_at, make_interval(secs => %s))
  FROM unnest(%s::uuid[], %s::text[]) AS told(tenant_id, id), fabric.member m, fabric.gate g
 WHERE t.tenant_id = told.tenant_id AND t.id = told.id AND t.ring_at <> 'infinity'
   AND (t.ring_at <= now() OR t.epoch < g.epoch)
"""


def take_over(region: str) -> int:
    """In all cells of which the region's agent says that there is something; returns how many."""
    told = 0
    for spec in _calling(region):
        try:
            told += tell(spec, region)
        except (psycopg.Error, OSError) as error:
            logger.warning("Tasks of %s can't be told of: %s", spec.name, one_line(error))
    return told


def tell(spec: CellSpec, region: str) -> int:
    """Of what is due in one cell; returns how many. Nothing is told of where the region may not
    write, since the row could not say so. Raises OperationalError when the broker is away."""
    dsn = deployment().dsn(region, spec.database, AGENT_ROLE)
    with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as session:
        (writable,) = session.execute("SELECT fabric.may_write()").fetchone() or (False,)
        due = session.execute(_DUE, (AT_ONCE,)).fetchall() if writable else []
        for tenant, task_id, name, queue, text, left_in in due:
            publish(current_app, text, region=region, queue=queue)
            logger.info(
                "Task %s[%s] of tenant %s is told of again%s", name, task_id, tenant,
                "" if left_in == region else f": it is taken over from {left_in}",
            )  # fmt: skip
        keys = [tenant for tenant, *_ in due], [task_id for _, task_id, *_ in due]
        if due:
            session.execute(_TOLD, (RING_SECONDS, *keys))
    return len(due)


def _calling(region: str) -> Iterable[CellSpec]:
    """The cells in which something is due: a file tells, so that no cell is asked in vain."""
    try:
        document: Any = json.loads((deployment().region(region).map_dir / FILE).read_text())
    except FileNotFoundError:
        return
    cells = local_topology().cells
    for name, state in document["cells"].items():
        if name in cells and state["writable"] and state.get("tasks", {}).get("due"):
            yield cells[name]
