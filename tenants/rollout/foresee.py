"""Renders what the first of many tenants will need while it is still read where the others stand.

Guarantees that it is at most too early, never wrong: what is rendered is used by those who, when
everybody has been read, stand where the first one stands, or by nobody. What would be refused
isn't run, and a failure is left to the canary.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Sequence

from django.db import connections

from regions.topology import TenancyMode
from tenants.rollout.graph import Graph
from tenants.rollout.lint import Level
from tenants.rollout.looks import MANY
from tenants.rollout.sessions import Sessions
from tenants.rollout.standing import read_progress
from tenants.rollout.steps import Kind
from tenants.rollout.survey import presume
from tenants.rollout.templates import Templates
from tenants.rollout.units import Route, Unit, Work

log = logging.getLogger("tenants.rollout")


class Foresight:
    """What is being made ready for the first of `units`, in a thread of its own."""

    def __init__(
        self,
        templates: Templates,
        graph: Graph,
        units: Sequence[Unit],
        *,
        absent: Collection[str],
    ) -> None:
        self._templates = templates
        self._graph = graph
        self._absent = absent
        self._unit: Unit | None = None
        self._route: Route | None = None
        self._known = threading.Event()
        if len(units) >= MANY and units[0].spec.mode is TenancyMode.SCHEMA:
            self._unit = units[0]
            threading.Thread(
                target=self._make, args=(units[0],), name="foresee", daemon=True
            ).start()

    def offer(self, works: Iterable[Work]) -> None:
        """Now it is known where everybody stands, the first one too."""
        if self._unit is None:
            return
        work = next((work for work in works if work.unit.key == self._unit.key), None)
        if work is None or not _is_plain(work):
            return
        # It is known long before everybody has been read, or it comes too late to be of use.
        self._known.wait(1)
        if self._route is not None and self._route.starts_like(work.route):
            self._templates.adopt(work.route, self._route)

    def _make(self, unit: Unit) -> None:
        sessions = Sessions()
        try:
            spec = unit.spec
            home = sessions.home(spec, [name for name in spec.regions if name not in self._absent])
            alias = sessions.alias(spec, home)
            connections[alias].ensure_connection()
            progress = read_progress(connections[alias].connection, [unit.schema])
            work = presume(self._graph, unit, home, progress)
            if _is_plain(work):
                self._route = work.route
                self._known.set()
                self._templates.find(work.route, work.route.parts[0], unit, alias)
        except Exception as error:  # noqa: BLE001 - an app's migration may raise anything
            log.debug("The canary will say why: %s", type(error).__name__)
        finally:
            self._known.set()
            sessions.close()
            connections.close_all()


def _is_plain(work: Work) -> bool:
    """Whether it will be done in any case, and begins with what is the same for everybody."""
    unsafe = any(concern.level in (Level.REFUSE, Level.CONTRACT) for concern in work.route.concerns)
    first = next(iter(work.route.parts), None)
    plain = first is not None and first.kind is Kind.STRUCTURE
    return plain and not (unsafe or work.trouble or work.behind)
