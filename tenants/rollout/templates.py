"""Rendered parts, each made once however many workers ask for it."""

from __future__ import annotations

import threading
from collections import defaultdict

from tenants.isolation.recording import Script
from tenants.rollout.render import render
from tenants.rollout.steps import Kind, Part
from tenants.rollout.units import Route, Unit

Key = tuple[object, int]


class Templates:
    """The first unit that comes to a part renders it, while the others wait. If that fails it is
    that unit's failure, and the next one tries."""

    def __init__(self, lock_timeout: float) -> None:
        self._lock_timeout = lock_timeout
        self._made: dict[Key, Script] = {}
        self._making: dict[Key, threading.Lock] = defaultdict(threading.Lock)
        self._foreseen: dict[object, object] = {}

    def adopt(self, route: Route, foreseen: Route) -> None:
        """What is made for one is good for the other."""
        self._foreseen[route.key] = foreseen.key

    def find(self, route: Route, part: Part, unit: Unit, alias: str) -> Script:
        key = (self._foreseen.get(route.key, route.key), part.number)
        with self._making[key]:
            if key not in self._made:
                last = part is [each for each in route.parts if each.kind is Kind.STRUCTURE][-1]
                self._made[key] = render(
                    unit, part, alias, last=last, lock_timeout=self._lock_timeout
                )
            return self._made[key]
