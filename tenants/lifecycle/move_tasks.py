"""A tenant's tasks that are to be done go along to its new cell.

What was begun in the old cell is to be begun anew: its worker can commit nothing there any more.
Brokers that were told of them have their messages still; the new cell's region is told by itself.
"""

from __future__ import annotations

from tenants.lifecycle.move_side import Side

_READ = """
SELECT id, name, queue, message, sent_at, claims, lost, ring_at = 'infinity'
  FROM fabric.task WHERE tenant_id = %s
"""
# Replicated: written once, where the cell is written.
_WRITE = """
INSERT INTO fabric.task
       (tenant_id, id, name, queue, message, sent_at, claims, lost, region, epoch, ring_at)
SELECT %s, %s, %s, %s, %s, %s, %s, %s, m.region, g.epoch,
       CASE WHEN %s THEN 'infinity' ELSE now() END
  FROM fabric.member m, fabric.gate g ON CONFLICT DO NOTHING
"""


def carry_tasks(source: Side, target: Side) -> None:
    """Nobody writes for the tenant meanwhile; safe to repeat."""
    found = source.sessions[source.home].execute(_READ, (source.tenant.id,)).fetchall()
    with target.rows() as writer, writer.cursor() as cursor:
        cursor.executemany(_WRITE, [(target.tenant.id, *task) for task in found])
