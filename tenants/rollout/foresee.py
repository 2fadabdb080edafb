"""Renders what the first of many tenants will need while it is still read where the others stand.

Guarantees that it is at most too early, never wrong: what is rendered is found by its starting
point, or not used. What would be refused isn't run, and a failure is left to the canary.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence

from django.db import connections

from regions.topology import TenancyMode
from tenants.rollout.graph import Graph
from tenants.rollout.lint import Level
from tenants.rollout.sessions import Sessions
from tenants.rollout.steps import Kind
from tenants.rollout.survey import MANY, survey
from tenants.rollout.templates import Templates
from tenants.rollout.units import Unit, Work

log = logging.getLogger("tenants.rollout")


def foresee(
    templates: Templates, graph: Graph, units: Sequence[Unit], *, absent: Collection[str]
) -> None:
    """Begin, for the first of `units`, in a thread of its own; returns at once."""
    if len(units) < MANY or units[0].spec.mode is not TenancyMode.SCHEMA:
        return
    threading.Thread(
        target=_foresee, args=(templates, graph, units[0], absent), name="foresee", daemon=True
    ).start()


def _foresee(templates: Templates, graph: Graph, unit: Unit, absent: Collection[str]) -> None:
    sessions = Sessions()
    try:
        for work in survey(graph, [unit], absent=absent).works:
            if _is_plain(work):
                regions = [name for name in unit.spec.regions if name not in absent]
                alias = sessions.alias(unit.spec, sessions.home(unit.spec, regions))
                templates.find(work.route, work.route.parts[0], unit, alias)
    except Exception as error:  # noqa: BLE001 - an app's migration may raise anything
        log.debug("The canary will say why: %s", type(error).__name__)
    finally:
        sessions.close()
        connections.close_all()


def _is_plain(work: Work) -> bool:
    """Whether it will be done in any case, and begins with what is the same for everybody."""
    unsafe = any(concern.level in (Level.REFUSE, Level.CONTRACT) for concern in work.route.concerns)
    first = next(iter(work.route.parts), None)
    plain = first is not None and first.kind is Kind.STRUCTURE
    return plain and not (unsafe or work.trouble or work.behind)
