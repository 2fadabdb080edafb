"""This process reaches its cells through something in between: a pooler, or a counter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.conf import settings
from django.db import connections

from regions.deployment import Deployment, Endpoint
from tenants.backend.pool import process_pool
from tests.tenants.conftest import HOME


@contextmanager
def reached_through(port: int, deployment: Deployment) -> Iterator[None]:
    site = replace(deployment.region(HOME), pooler=Endpoint("127.0.0.1", port))
    there = replace(deployment, regions={**deployment.regions, HOME: site})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "MERIDIAN_DEPLOYMENT", there)
        _forget_cells()
        yield
    _forget_cells()


def _forget_cells() -> None:
    for alias in [name for name in connections.settings if name.startswith("cell:")]:
        connections[alias].close()
        del connections[alias]
        connections.settings = {k: v for k, v in connections.settings.items() if k != alias}
    process_pool().forget()
