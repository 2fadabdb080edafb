from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from django.test import Client

from regions.deployment import Deployment
from tenants import tokens
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.seams import local_directory
from tests.gateway import live


@pytest.fixture
def acme(deployment: Deployment, settings) -> Iterator[TenantRecord]:
    """A tenant with a real cell, served by this process as eu-west's, and in scope."""
    settings.MERIDIAN_REGION = live.HERE
    live.make_cells()
    live.empty_tables()
    with live.serving(deployment.region(live.HERE).map_dir):
        tenant = local_directory().current().by_slug["acme"]
        with tenant_scope(tenant):
            yield tenant
    connections.close_all()


@pytest.fixture
def api(acme: TenantRecord) -> Client:
    """Talks JSON to acme's host with acme's token."""
    bearer = f"Bearer {tokens.issue(acme)}"
    return Client(headers={"host": "acme.localhost", "authorization": bearer})
