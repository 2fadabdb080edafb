"""Plans, reports and records as `cell migrate` prints them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from tenants.databases import control_writer_alias
from tenants.rollout.advice import advise
from tenants.rollout.models import Rollout, RolloutUnit
from tenants.rollout.planning import Options, Plan
from tenants.rollout.run import Report
from tenants.rollout.units import Work
from tenants.rollout.waves import sizes_without_failures

State = RolloutUnit.State
RUNS_SHOWN = 5


def plan_document(plan: Plan, options: Options, sql: dict[str, list[str]]) -> dict[str, Any]:
    """`sql`: the rendered parts by starting point, if they were asked for."""
    points: dict[tuple[Any, ...], list[Work]] = {}
    for work in plan.survey.works:
        trouble = work.trouble or ""
        points.setdefault((work.unit.spec.name, id(work.route), trouble), []).append(work)
    quarantined = {work.unit.key for work in plan.quarantined}
    concerns = {concern: None for work in plan.survey.works for concern in work.route.concerns}
    return {
        "dry_run": True,
        "total": plan.survey.total,
        "up_to_date": plan.survey.total - len(plan.survey.works),
        "cells": [
            {
                "cell": cell,
                "tenants": len(works),
                "for_example": works[0].unit.name,
                "migrations": works[0].route.migrations,
                "parts": [
                    {
                        "kind": part.kind.value,
                        "what": part.name,
                        "sql": sql.get(_sql_key(works[0], n)),
                    }
                    for n, part in enumerate(works[0].route.parts)
                ],
                "behind": sorted({region for work in works for region in work.behind}),
                "unlike": sorted({name for work in works for name in work.unlike}),
                "trouble": trouble or None,
            }
            for (cell, _, trouble), works in points.items()
        ],
        "quarantined": sorted(work.unit.name for work in plan.quarantined),
        "waves": list(sizes_without_failures(options.pace, len(plan.ready))),
        "lint": [
            {"level": each.level.value, "migration": each.migration, "text": each.text}
            for each in concerns
        ],
        "unknown_migrations": dict(plan.survey.unknown),
        "in_quarantine": len(quarantined),
    }


def _next(run: Rollout, counts: Counter[str], later: Collection[str]) -> str:
    advice = advise(run.state, run.options, counts, sorted(later))
    return f"{advice.sentence} {advice.command}".strip()


def _sql_key(work: Work, number: int) -> str:
    return f"{id(work.route)}/{number}"


def report_document(report: Report) -> dict[str, Any]:
    """`state`: nothing (all were there already), done, failed or halted."""
    counts = Counter(event.state for event in report.events)
    state = "done" if report.events else "nothing"
    if not report.complete:
        state = "halted" if report.halted else "failed"
    return {
        "run": str(report.rollout.id) if report.rollout else None,
        "state": state,
        "reason": report.halted or None,
        "total": report.total,
        "up_to_date": report.total - len(report.works),
        "migrated": counts[State.DONE],
        "failed": counts[State.FAILED],
        "blocked": counts[State.BLOCKED],
        "skipped": counts[State.SKIPPED],
        "quarantined": sorted(work.unit.name for work in report.quarantined),
        "untouched": len(report.untouched),
        "seconds": round(report.seconds, 3),
        "units": [
            {
                "cell": event.work.unit.spec.name,
                "tenant": event.work.unit.name if event.work.unit.tenant else None,
                "state": str(event.state),
                "migrations": event.work.route.migrations,
                "mended": event.work.unlike,
                "left_for_later": list(event.work.absent),
                "attempts": event.attempt,
                "seconds": round(event.seconds, 3),
                "error": event.error or None,
            }
            for event in report.events
        ],
    }


def status_document(cells: Collection[str]) -> dict[str, Any]:
    """The last runs, and who is not where the newest of them wanted to bring them."""
    using = control_writer_alias()
    runs = list(Rollout.objects.using(using).order_by("-created_at")[:RUNS_SHOWN])
    rows = RolloutUnit.objects.using(using).filter(rollout__in=runs)
    if cells:
        rows = rows.filter(cell__in=list(cells))
    counts: dict[Any, Counter[str]] = {run.id: Counter() for run in runs}
    later: dict[Any, set[str]] = {run.id: set() for run in runs}
    newest: dict[str, RolloutUnit] = {}
    for row in rows.order_by("-rollout__created_at", "cell", "slug"):
        counts[row.rollout_id][row.state] += 1
        later[row.rollout_id].update(row.pending)
        newest.setdefault(f"{row.cell}/{row.tenant}", row)
    return {
        "runs": [
            {
                "run": str(run.id),
                "began": run.created_at.isoformat(timespec="seconds"),
                "ended": run.ended_at.isoformat(timespec="seconds") if run.ended_at else None,
                "actor": run.actor,
                "state": run.state,
                "reason": run.reason or None,
                **{state: counts[run.id][state] for state in State.values},
                "waves": run.options.get("waves", []),
                "next": _next(run, counts[run.id], later[run.id]),
            }
            for run in runs
        ],
        "units": [
            {
                "cell": row.cell,
                "tenant": row.slug if row.tenant else None,
                "state": row.state,
                "attempts": row.attempt,
                "duration_ms": row.duration_ms,
                "error": row.error or None,
                "left_for_later": row.pending,
                "migrations": row.migrations,
            }
            for row in newest.values()
            if row.state != State.DONE or row.pending
        ],
    }
