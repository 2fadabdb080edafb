"""`POST /healthz/probe` at `<cell>.cell.<domain>`: a real, replicated write to one cell.

Failover and drills measure with it, through the edge and the same decision as a tenant's write.
Guarantees that only operators write probes, and that a probe holds nothing but its id.
"""

from __future__ import annotations

import hmac
import json
from collections import defaultdict
from typing import Any
from uuid import UUID

import psycopg
from django.http import HttpRequest, HttpResponse, JsonResponse

from gateway import handoff
from gateway.errors import FENCED_SQLSTATE
from gateway.problems import problem
from regions.current import deployment
from regions.deployment import APP_ROLE
from regions.topology import CellSpec
from regions.writers import Action, decide
from tenants.maps import here, region_map

CONNECT_SECONDS = 2

_idle: dict[str, list[psycopg.Connection[Any]]] = defaultdict(list)


def probe(request: HttpRequest, host: str) -> HttpResponse:
    """Write one probe, or say who can."""
    spec = next(
        (
            cell
            for cell in region_map().topology().cells.values()
            if deployment().probe_host(cell.name) == host
        ),
        None,
    )
    if spec is None:
        return problem("unknown-host", 404, "Probes go to <cell>.cell.<domain>.")
    expected = f"Bearer {deployment().probe_token()}"
    if not hmac.compare_digest(
        request.headers.get("Authorization", "").encode(), expected.encode()
    ):
        return problem("unauthorized", 401, "Only operators write probes.")
    if request.method != "POST":
        return problem("method-not-allowed", 405, "Send a POST.")
    decision = decide(spec, region_map().lease(spec.name), here())
    if decision.action is not Action.ALLOW:
        return handoff.answer(request, decision, region=here())
    try:
        identity = UUID(json.loads(request.body)["id"])
    except (ValueError, KeyError, TypeError):
        return problem("bad-request", 400, 'Send {"id": "<uuid>"}.')
    try:
        _write(spec, identity)
    except psycopg.Error as error:
        if error.sqlstate == FENCED_SQLSTATE:
            return problem("fenced", 503, "The lease is moving. Try again.", retry_after=1)
        return problem("database-unavailable", 503, "Try again.", retry_after=1)
    return JsonResponse({"id": str(identity), "region": here()})


def _write(spec: CellSpec, identity: UUID) -> None:
    """One probe. The cell has as many connections as it has probes at a time, whichever threads
    they come to; a broken one is replaced once used."""
    idle = _idle[spec.name]
    try:
        connection = idle.pop()
    except IndexError:
        connection = psycopg.connect(
            deployment().dsn(here(), spec.database, APP_ROLE),
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="probe",
        )
    try:
        connection.execute("SELECT fabric.write_probe(%s)", (identity,))
    except psycopg.OperationalError:
        connection.close()
        raise
    finally:
        if not connection.closed:
            idle.append(connection)
