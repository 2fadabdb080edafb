"""`X-Durability: local|remote` on a write: how far it has got when the client hears "done".

`local`: committed in the region that answers. `remote`: a peer region has durably received it too.
Where the request does not say, the setting does (`tenants.durable`). Guarantees an honest answer:
when the wait ends early, the response says `maybe`: the write is committed here and on its way, but
nobody else has confirmed it; and where there is no peer it says `local`, whatever the setting says.
"""

from __future__ import annotations

import time

from asgiref.sync import sync_to_async
from django.db import Error, connection
from django.http import HttpRequest, HttpResponseBase

from gateway.metrics import DURABILITY
from gateway.problems import problem
from gateway.serving import GetResponse, GetResponseAsync
from tenants.context import current_tenant
from tenants.durable import LOCAL, REMOTE, demanded, noting
from tenants.maps import here, region_map

HEADER = "X-Durability"
MAYBE = "maybe"
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.003


def durably(get_response: GetResponse) -> GetResponse:
    """`get_response` for a tenant's write, which waits for a peer where the request asks for it."""

    def serve(request: HttpRequest) -> HttpResponseBase:
        asked = request.headers.get(HEADER, "").lower()
        if refusal := _refused(asked):
            return refusal
        with noting() as written:
            response = get_response(request)
        wanted = asked or _by_the_setting(request, written)
        if wanted == REMOTE and _is_done(response) and not confirmed():
            wanted = MAYBE
        return _told(response, wanted)

    return serve


def durably_async(get_response: GetResponseAsync) -> GetResponseAsync:
    """The same for an event loop: the wait is in the request's thread."""

    async def serve(request: HttpRequest) -> HttpResponseBase:
        asked = request.headers.get(HEADER, "").lower()
        if refusal := _refused(asked):
            return refusal
        with noting() as written:
            response = await get_response(request)
        wanted = asked or _by_the_setting(request, written)
        if wanted == REMOTE and _is_done(response) and not await _confirmed():
            wanted = MAYBE
        return _told(response, wanted)

    return serve


def _refused(asked: str) -> HttpResponseBase | None:
    if asked not in {"", LOCAL, REMOTE}:
        return problem("durability", 400, f"{HEADER} is either local or remote.")
    if asked == REMOTE and not _has_a_peer():
        detail = f"Cell {current_tenant().cell} is in one region: use {HEADER}: local."
        return problem("durability", 400, detail)
    return None


def _by_the_setting(request: HttpRequest, written: set[str]) -> str:
    wanted = demanded(request.resolver_match, written)
    return wanted if wanted == LOCAL or _has_a_peer() else LOCAL


def _has_a_peer() -> bool:
    return len(region_map().topology().cell(current_tenant().cell).regions) > 1


def _is_done(response: HttpResponseBase) -> bool:
    """Also a form's, which sends its reader elsewhere; not a request that somebody else serves."""
    return response.status_code < 300 or response.status_code in {301, 302, 303}


def _told(response: HttpResponseBase, outcome: str) -> HttpResponseBase:
    if _is_done(response):
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
