"""Problem documents (RFC 9457): how this platform says no.

Guarantees a stable `type` for each kind of refusal, and no SQL, row value or path of the
server in any of them: `detail` is written here or by the pure decisions, never by a driver.
"""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse

TYPE_PREFIX = "urn:meridian:problem:"

TITLES = {
    "bad-request": "The request cannot be understood",
    "forbidden": "Not allowed",
    "csrf": "The form's origin could not be verified",
    "not-found": "Not found",
    "file-link": "The link does not open this file",
    "internal": "Something went wrong on the server",
    "unknown-host": "No tenant has this host name",
    "tenant-not-ready": "The tenant is not ready yet",
    "tenant-suspended": "The tenant is suspended",
    "tenant-moving": "The tenant is moving to another cell",
    "tenant-erased": "The tenant was erased",
    "not-served-here": "The tenant's data is not in this region",
    "not-writer": "Another region writes to this cell",
    "no-writer": "No region may write to this cell now",
    "fenced": "This region lost the right to write; nothing was changed",
    "map-not-loaded": "This region has no map yet",
    "database-unavailable": "This region's database does not answer",
    "saturated": "This process has no connection to the database free",
    "outcome-unknown": "The connection was lost during the commit",
    "storage-full": "This region's database has no space left; nothing was changed",
    "over-budget": "This region may not run further ahead of a region that is behind",
    "busy": "Another request changed the same data; nothing was changed",
    "duplicate": "A value that must be unique is taken",
    "broken-reference": "The request refers to something that does not exist",
    "invalid-data": "The database refused a value",
    "unauthorized": "The request is not authorized",
    "method-not-allowed": "The method is not allowed here",
    "too-many-requests": "The tenant's limit of requests is reached",
    "quota-exceeded": "The tenant's quota is used up",
    "statement-timeout": "The database was not done in time; nothing was changed",
    "too-many-at-once": "The tenant's limit of requests at the same time is reached",
    "too-many-connections": "The tenant's limit of database connections is reached",
    "idempotency": "The idempotency key can't be taken",
    "idempotency-key-reused": "The idempotency key belongs to another request",
    "already-done": "The request was carried out before",
    "durability": "The requested durability is not possible",
    "consistency": "The session's token is none of this tenant's",
    "behind": "This region lacks what the session has seen",
}


def problem(
    kind: str,
    status: int,
    detail: str,
    *,
    retry_after: int | None = None,
    **members: Any,
) -> JsonResponse:
    """A problem+json response; `members` are extension members of the document."""
    document = {
        "type": TYPE_PREFIX + kind,
        "title": TITLES[kind],
        "status": status,
        "detail": detail,
        **members,
    }
    response = JsonResponse(document, status=status, content_type="application/problem+json")
    response["Cache-Control"] = "no-store"
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response
