"""`X-Durability: local|remote` on a write: how far it has got when the client hears "done".

`local` (the default): committed in the region that answers. `remote`: a peer region has
durably received it too. Guarantees an honest answer: when the wait ends early, the response
says `maybe`: the write is committed here and on its way, but nobody else has confirmed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import Error, connection
from django.http import HttpRequest, HttpResponseBase

from gateway.metrics import DURABILITY
from gateway.problems import problem
from gateway.transactions import SAFE_METHODS
from tenants.context import current_tenant_or_none
from tenants.maps import here, region_map

HEADER = "X-Durability"
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.003
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class DurabilityMiddleware:
    """Waits for a peer's confirmation where the request asks for it."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        tenant = current_tenant_or_none()
        if tenant is None or request.method in SAFE_METHODS:
            return self._get_response(request)
        wanted = request.headers.get(HEADER, "local").lower()
        if wanted not in {"local", "remote"}:
            return problem("durability", 400, f"{HEADER} is either local or remote.")
        if wanted == "remote" and len(region_map().topology().cell(tenant.cell).regions) < 2:
            return problem(
                "durability", 400, f"Cell {tenant.cell} is in one region: use {HEADER}: local."
            )
        response = self._get_response(request)
        if response.status_code < 300:
            response[HEADER] = wanted
            if wanted == "remote" and not confirmed():
                response[HEADER] = "maybe"
            if wanted == "remote":
                DURABILITY.labels(region=here(), outcome=response[HEADER]).inc()
        return response


def confirmed() -> bool:
    """Whether a peer has durably received all that this connection has committed."""
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT fabric.commit_position()::text")
            position = cursor.fetchone()[0]
            while True:
                cursor.execute("SELECT fabric.confirmed_by(%s::pg_lsn)", [position])
                if cursor.fetchone()[0] >= 1:
                    return True
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL_SECONDS)
    except Error:
        return False
