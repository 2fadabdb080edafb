"""What a region answers to a write that it must not do itself.

Through the edge: 307 with `x-replay-region`, and the edge sends the same request, body
included, to the writer. Directly: 421 with the writer's name. A request is handed off once; a
second time the maps disagree, so the client gets 503 and tries again.

The edge removes these headers from what clients send. A client that forges them on a region's
own port only changes which refusal it gets.
"""

from __future__ import annotations

from contextlib import suppress

from django.http import HttpRequest, HttpResponse, UnreadablePostError

from gateway.metrics import HANDOFFS
from gateway.problems import problem
from regions.writers import Action, Decision

EDGE_HEADER = "x-meridian-edge"
REPLAY_REGION = "x-replay-region"
REPLAY_STATE = "x-replay-state"


def came_through_edge(request: HttpRequest) -> bool:
    return request.headers.get(EDGE_HEADER) == "1"


def answer(request: HttpRequest, decision: Decision, *, region: str) -> HttpResponse:
    """The response for a Decision other than ALLOW."""
    if decision.action is not Action.HAND_OFF or decision.writer is None:
        return problem("no-writer", 503, decision.reason, retry_after=1, region=region)
    if not came_through_edge(request):
        return problem(
            "not-writer",
            421,
            f"{decision.reason} Send the request to the edge, or to that region.",
            region=region,
            writer=decision.writer,
        )
    if REPLAY_STATE in request.headers:
        return problem(
            "no-writer",
            503,
            f"{decision.reason} The request was handed off already, so the writer is moving.",
            retry_after=1,
            region=region,
        )
    _drain(request)
    HANDOFFS.labels(region=region, to=decision.writer).inc()
    response = HttpResponse(status=307)
    response["Location"] = request.build_absolute_uri()
    response[REPLAY_REGION] = f"region_{decision.writer.replace('-', '_')}"
    response[REPLAY_STATE] = "1"
    response["Cache-Control"] = "no-store"
    return response


def _drain(request: HttpRequest) -> None:
    """Read the body to its end: the edge replays whole requests only, and an answer to half of
    one would be lost when the server closes the connection on the rest."""
    with suppress(UnreadablePostError):
        while request.read(65_536):
            pass
