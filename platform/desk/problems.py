"""The API's refusals as problem documents (RFC 9457), in the platform's form."""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse


def problem(kind: str, status: int, title: str, detail: str, **members: Any) -> JsonResponse:
    document = {
        "type": f"urn:meridian:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        **members,
    }
    return JsonResponse(document, status=status, content_type="application/problem+json")


class InvalidField(Exception):
    """A field of the request's body names something that does not exist."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
