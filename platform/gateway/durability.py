"""`X-Durability: local|remote` on a write: how far it has got when the client hears "done".

`local` (the default): committed in the region that answers. `remote`: a peer region has
durably received it too. Guarantees an honest answer: when the wait ends early, the response
says `maybe`: the write is committed here and on its way, but nobody else has confirmed it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from asgiref.sync import sync_to_async
from django.db import Error, connection
from django.http import HttpRequest, HttpResponseBase

from gateway.metrics import DURABILITY
from gateway.problems import problem
from tenants.context import current_tenant
from tenants.maps import here, region_map

HEADER = "X-Durability"
LOCAL, REMOTE, MAYBE = "local", "remote", "maybe"
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.003
GetResponse = Callable[[HttpRequest], HttpResponseBase]
GetResponseAsync = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


def durably(get_response: GetResponse) -> GetResponse:
    """`get_response` for a tenant's write, which waits for a peer where the request asks for it."""

    def serve(request: HttpRequest) -> HttpResponseBase:
        wanted = request.headers.get(HEADER, LOCAL).lower()
        if refusal := _refused(wanted):
            return refusal
        response = get_response(request)
        if wanted == REMOTE and response.status_code < 300 and not confirmed():
            wanted = MAYBE
        return _told(response, wanted)

    return serve


def durably_async(get_response: GetResponseAsync) -> GetResponseAsync:
    """The same for an event loop: the wait is in the request's thread."""

    async def serve(request: HttpRequest) -> HttpResponseBase:
        wanted = request.headers.get(HEADER, LOCAL).lower()
        if refusal := _refused(wanted):
            return refusal
        response = await get_response(request)
        if wanted == REMOTE and response.status_code < 300 and not await _confirmed():
            wanted = MAYBE
        return _told(response, wanted)

    return serve


def _refused(wanted: str) -> HttpResponseBase | None:
    if wanted not in {LOCAL, REMOTE}:
        return problem("durability", 400, f"{HEADER} is either local or remote.")
    cell = current_tenant().cell
    if wanted == REMOTE and len(region_map().topology().cell(cell).regions) < 2:
        return problem("durability", 400, f"Cell {cell} is in one region: use {HEADER}: local.")
    return None


def _told(response: HttpResponseBase, outcome: str) -> HttpResponseBase:
    if response.status_code < 300:
        response.headers[HEADER] = outcome
        if outcome != LOCAL:
            DURABILITY.labels(region=here(), outcome=outcome).inc()
    return response


def confirmed() -> bool:
    """Whether a peer has durably received all that this connection has committed, while this region
    might still write: then whoever writes next has it, too. A commit that was frozen behind its
    own check until the lease had ended is not confirmed, whoever has it."""
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT fabric.commit_position()::text")
            position = cursor.fetchone()[0]
            while True:
                cursor.execute("SELECT fabric.confirmed_by(%s::pg_lsn)", [position])
                if cursor.fetchone()[0] >= 1:
                    # Asked afterwards: the next writer first applies what it had by then.
                    cursor.execute("SELECT fabric.may_write()")
                    return bool(cursor.fetchone()[0])
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL_SECONDS)
    except Error:
        return False


_confirmed = sync_to_async(confirmed)
