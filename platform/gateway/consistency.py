"""`X-Consistency`: a client sees its own writes, and nothing older than it has seen, in any region.

A request that carries `session`, or the token of an earlier answer, gets a token back: how far its
region had got in every region's log when it answered, signed, and bound to tenant and cell. A
region that has not got as far waits for WAIT_SECONDS, then has the edge ask one that has (a leased
cell's writer, else the region that gave the token), or says so (503): never an older answer in
silence. Of a leased cell nobody has more than its writer: that one answers, and names in
`X-Consistency-Missing` the region whose writes may be missing because it was lost. `X-Staleness`:
the age of the newest that is here of whichever other region least is here of. Where nobody asked,
every answer of a region that is not the writer has it, as the agent has said last: never less than
it is, by the clocks of those who wrote, and at no query.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.db import Error, connection
from django.http import HttpRequest, HttpResponseBase

from gateway import handoff
from gateway.problems import problem
from gateway.serving import GetResponse, GetResponseAsync
from regions.current import deployment
from regions.writers import Action, Decision
from tenants.context import current_tenant
from tenants.directory import TenantRecord
from tenants.maps import here, region_map

HEADER = "X-Consistency"
META = "HTTP_X_CONSISTENCY"
STALENESS = "X-Staleness"
MISSING = "X-Consistency-Missing"
ASKS = "session"  # instead of a token, where there is none yet
PREFIX = "mc1"
WAIT_SECONDS = 2.5  # two heartbeats and a bit
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Token:
    """`region` gave it; `beats`: of each origin's log, by node, the newest number that was used (of
    its own), or the newest heartbeat that was applied (of the others)."""

    cell: str
    region: str
    beats: dict[str, int]


def consistently(get_response: GetResponse) -> GetResponse:
    """`get_response` for a request that has the header."""

    def serve(request: HttpRequest) -> HttpResponseBase:
        token, refusal = _asked(request)
        missing = token is not None and not reached(token)
        if token is not None and missing:
            refusal = _behind(request, token)
        if refusal is not None:
            return refusal
        return _told(get_response(request), position(), token if missing else None)

    return serve


def consistently_async(get_response: GetResponseAsync) -> GetResponseAsync:
    """The same for an event loop, which waits for nobody."""

    async def serve(request: HttpRequest) -> HttpResponseBase:
        token, refusal = _asked(request)
        missing = token is not None and not await _reached(token)
        if token is not None and missing:
            refusal = await sync_to_async(_behind)(request, token)
        if refusal is not None:
            return refusal
        response = await get_response(request)
        return _told(response, await sync_to_async(position)(), token if missing else None)

    return serve


def issue(tenant: TenantRecord, token: Token) -> str:
    """The token as its client carries it."""
    beats = "-".join(f"{node}:{beat}" for node, beat in sorted(token.beats.items()))
    claim = f"{PREFIX}.{token.cell}.{token.region}.{beats}"
    return f"{claim}.{_signature(tenant, claim)}"


def read(tenant: TenantRecord, text: str) -> Token | None:
    """None for what was not given to this tenant."""
    claim, _, signature = text.rpartition(".")
    if not text.isascii() or not hmac.compare_digest(_signature(tenant, claim), signature):
        return None
    _, cell, region, beats = claim.split(".")
    pairs = (pair.split(":") for pair in beats.split("-"))
    return Token(cell, region, {node: int(beat) for node, beat in pairs})


def _signature(tenant: TenantRecord, claim: str) -> str:
    key = deployment().secrets.derive("session-position")
    return hmac.digest(key, f"{tenant.id.hex}.{claim}".encode(), "sha256").hex()[:32]


def _asked(request: HttpRequest) -> tuple[Token | None, HttpResponseBase | None]:
    """What has to be here first, or why the header is none."""
    text = request.META[META]
    if text == ASKS:
        return None, None
    tenant = current_tenant()
    token = read(tenant, text)
    if token is None:
        detail = f"Send back what an answer had in {HEADER}, or {ASKS}."
        return None, problem("consistency", 400, detail)
    # Where a tenant has moved to, all of it is that was in the cell before.
    return (token if token.cell == tenant.cell else None), None


def reached(token: Token) -> bool:
    """Whether all that the token stands for is here, by the end of the wait."""
    wanted = _wanted(token)
    deadline = time.monotonic() + WAIT_SECONDS
    while wanted and not _is_here(wanted):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


async def _reached(token: Token) -> bool:
    wanted = _wanted(token)
    deadline = time.monotonic() + WAIT_SECONDS
    while wanted and not await sync_to_async(_is_here)(wanted):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _wanted(token: Token) -> str:
    """As the database reads it; "" for the region's own token: it has not forgotten anything."""
    if token.region == here():
        return ""
    regions = region_map().topology().cell(token.cell).regions
    nodes = {str(deployment().region(name).node) for name in regions}
    # Of a region that has left the cell the others had everything.
    return json.dumps({node: beat for node, beat in token.beats.items() if node in nodes})


def _is_here(wanted: str) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT fabric.has_reached(%s::jsonb)", [wanted])
            return bool(cursor.fetchone()[0])
    except Error:
        return False


def position() -> tuple[Token, float] | None:
    """Where this region is, and for how many seconds it may have missed something; None when its
    database can't say."""
    cell = current_tenant().cell
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT beats::text, stale FROM fabric.position()")
            beats, stale = cursor.fetchone()
    except Error:
        return None
    return Token(cell, here(), json.loads(beats)), 0.0 if _writer(cell) == here() else stale


def with_age(response: HttpResponseBase, cell: str) -> HttpResponseBase:
    """What the database has said already is newer."""
    if response.status_code == 307 or STALENESS in response.headers or _writer(cell) == here():
        return response
    until = region_map().heard_until(cell)
    if until is not None:
        response.headers[STALENESS] = f"{max(0.0, time.time() - until):.3f}"
    return response


def _writer(cell: str) -> str | None:
    """The one region that writes it, as far as this one knows."""
    known = region_map()
    spec = known.cell(cell)
    lease = known.lease(cell) if spec is not None and spec.policy.leased else None
    return lease.writer if lease else None


def _told(
    response: HttpResponseBase, found: tuple[Token, float] | None, lost: Token | None
) -> HttpResponseBase:
    if found is not None and response.status_code != 307:
        token, stale = found
        response.headers[HEADER] = issue(current_tenant(), token)
        response.headers[STALENESS] = f"{stale:.3f}"
    if lost is not None:
        response.headers[MISSING] = lost.region
    return response


def _behind(request: HttpRequest, token: Token) -> HttpResponseBase | None:
    """None at a leased cell's writer: nobody has more. The edge asks whoever has; who came
    directly, or for the second time, is told."""
    reason = f"{here()} has not received yet what {token.region} has shown this session."
    known = region_map()
    leased = known.topology().cell(token.cell).policy.leased
    better = _writer(token.cell) if leased else token.region
    if better == here():
        return None
    again = handoff.REPLAY_STATE in request.headers or not handoff.came_through_edge(request)
    if again or better not in known.topology().cell(token.cell).regions:
        return problem("behind", 503, f"{reason} Try again.", retry_after=1, region=here())
    return handoff.answer(request, Decision(Action.HAND_OFF, reason, better), region=here())
