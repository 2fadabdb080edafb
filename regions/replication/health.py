"""How far a replica is behind each origin, and what it owes to each peer: one query.

At a receiver, `from` each origin: `seconds` since the newest change or heartbeat that is applied
(origins beat each second, or each three where nothing is written; both clocks are in it), `rows`
and `bytes` that have arrived and are not applied. At a sender, `to` each peer: `bytes` of its log
that the peer has not confirmed. That log is the server's, so other cells' changes in between count
too: never less than the truth.
`budget`: how much of that may come together (`regions.replication.budget`); `pressed`: why writers
are slowed down, or refused (`slowed_ms` null), or null; `paused`: origins of which nothing is taken
for now. `reseeding`: those whose slot was lost, until this replica has again what they wrote.
`writable`: whether transactions may commit there now.
`tasks`: how many are to be done, and whether a broker has to be told of some here.
`tombstones`: about how many there are, and when they were last collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regions.replication.transport import slot_name
from regions.topology import CellSpec

HEALTH = """
SELECT jsonb_build_object(
    'from', (
        SELECT coalesce(jsonb_object_agg(w.region, jsonb_build_object(
                   'seconds', CASE WHEN w.stamp > 0 THEN
                       greatest(0, round(extract(epoch FROM clock_timestamp())
                                         - ((w.stamp >> 8) / 1000000.0 + 1577836800), 3)) END,
                   'rows', waiting.rows, 'bytes', waiting.bytes)), '{}')
          FROM fabric.watermark w CROSS JOIN LATERAL (
               SELECT coalesce(sum(c.size), 0) AS rows,
                      coalesce(sum(pg_column_size(c.rows)), 0) AS bytes
                 FROM fabric.change c WHERE c.origin = w.origin AND c.arrival > w.arrival
               ) AS waiting),
    'paused', (
        SELECT coalesce(jsonb_agg(region ORDER BY region), '[]')
          FROM fabric.watermark WHERE paused IS NOT NULL),
    'budget', (SELECT jsonb_build_object('bytes', log_budget, 'over', over_budget)
                 FROM fabric.member),
    'pressed', (SELECT jsonb_build_object('reason', pressed, 'slowed_ms', slowed_ms)
                  FROM fabric.gate WHERE pressed IS NOT NULL),
    'reseeding', (
        SELECT coalesce(jsonb_agg(region ORDER BY region), '[]')
          FROM fabric.watermark WHERE gap IS NOT NULL),
    'slots', (
        SELECT coalesce(jsonb_object_agg(slot_name, pg_wal_lsn_diff(
                   pg_current_wal_lsn(), confirmed_flush_lsn)), '{}')
          FROM pg_replication_slots
         WHERE database = current_database() AND slot_type = 'logical'
           AND confirmed_flush_lsn IS NOT NULL), -- null: it is being made
    'writable', fabric.may_write(),
    'dead_letters', (SELECT count(*) FROM fabric.dead_letter),
    'conflicts', (SELECT count(*) FROM fabric.conflict),
    'tasks', jsonb_build_object('open', (SELECT count(*) FROM fabric.task),
                                'due', EXISTS (SELECT FROM fabric.task_due)),
    'tombstones', (SELECT jsonb_build_object(
                       'about', greatest(0, (SELECT reltuples FROM pg_class
                                              WHERE oid = 'fabric.tombstone'::regclass)),
                       'collected_at', m.collected_at) FROM fabric.member m),
    'verified', (
        SELECT jsonb_build_object('at', v.at, 'seconds', v.seconds, 'by', v.by,
                   'regions', v.regions, 'unreachable', v.unreachable, 'rows', v.rows,
                   'differing_rows', v.differences, 'repaired_rows', v.repaired,
                   'problem', v.problem,
                   'equal', v.problem IS NULL AND v.unreachable = '{}'
                            AND v.differences = v.repaired)
          FROM fabric.verification v ORDER BY v.id DESC LIMIT 1))
"""


def document(spec: CellSpec, found: Mapping[str, Any]) -> dict[str, Any]:
    """What HEALTH has found in one replica, with peers for slots: `to` is {region: bytes}."""
    slots = found["slots"]
    to = {peer: slots[slot] for peer in spec.regions if (slot := slot_name(spec, peer)) in slots}
    return {**{name: found[name] for name in found if name != "slots"}, "to": to}


def lag(receiver: Mapping[str, Any], senders: Mapping[str, Mapping[str, Any]], region: str) -> Any:
    """A replica's lag by origin, from the documents of the cell's replicas that answer. `bytes`:
    what its sender keeps for it, and what has arrived; None where the sender does not answer."""
    return [
        {
            "from": origin,
            "seconds": one["seconds"],
            "rows": one["rows"],
            "bytes": one["bytes"] + senders[origin]["to"].get(region, 0)
            if origin in senders
            else None,
        }
        for origin, one in sorted(receiver["from"].items())
    ]
