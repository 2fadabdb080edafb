"""`Idempotency-Key` on a write: sent again, it is carried out once and answered as it was at first.

Called inside the request's transaction. The key is taken before the view runs, so that whoever
sends the same at the same time waits for the first; the answer is kept beside what the view has
written, and both are committed or neither. So a request that failed has not used its key.

As far as the write itself has got, the key has: a region that takes over without a `local` write
does not know its key either (docs/how-to/idempotency.md).
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.request import RawPostDataException
from django.utils import timezone

from gateway.problems import problem
from gateway.serving import GetResponse, GetResponseAsync

if TYPE_CHECKING:
    from gateway.idempotency.models import Answer

META = "HTTP_IDEMPOTENCY_KEY"
REPLAYED = "Idempotency-Replayed"
MAX_KEY = 255
KEPT = timedelta(hours=24)
# What a request with a new key clears away of those that have had their time.
CLEARED = 20
# A longer answer is not kept: the repetition hears that it is done, and not what it was.
MAX_BODY = 256 * 1024


def once(request: HttpRequest, get_response: GetResponse) -> HttpResponseBase:
    """`get_response(request)`, or the answer of the first request with its key."""
    if META not in request.META:
        return get_response(request)
    begun = _begin(request)
    if isinstance(begun, HttpResponse):
        return begun
    response = get_response(request)
    _keep(begun, response)
    return response


async def once_async(request: HttpRequest, get_response: GetResponseAsync) -> HttpResponseBase:
    """The same for an event loop."""
    if META not in request.META:
        return await get_response(request)
    begun = await sync_to_async(_begin)(request)
    if isinstance(begun, HttpResponse):
        return begun
    response = await get_response(request)
    await sync_to_async(_keep)(begun, response)
    return response


def _begin(request: HttpRequest) -> HttpResponse | Answer:
    """What is known of the key already, else its row, taken for this request."""
    key = request.META[META]
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        detail = f"An idempotency key has 1 to {MAX_KEY} printable characters."
        return problem("idempotency", 400, detail)
    if not apps.is_installed("gateway.idempotency"):
        return problem("idempotency", 400, "No idempotency keys are kept here.")
    from gateway.idempotency.models import Answer

    old = Answer.objects.filter(asked_at__lt=timezone.now() - KEPT)
    asked = _digest_of(request)
    name = sha256(key.encode()).hexdigest()
    old.filter(key=name).delete()
    answer, new = Answer.objects.get_or_create(key=name, defaults={"request": asked})
    if new:
        old.filter(key__in=list(old.values_list("key", flat=True)[:CLEARED])).delete()
        return answer
    if answer.request != asked:
        detail = "Its key came before, with another request or other credentials."
        return problem("idempotency-key-reused", 422, detail)
    if answer.status is None:
        detail = "The request was carried out before. Its answer could not be kept."
        return problem("already-done", 409, detail)
    response = HttpResponse(bytes(answer.body), status=answer.status, headers=answer.headers)
    response[REPLAYED] = "true"
    return response


def _keep(answer: Answer, response: HttpResponseBase) -> None:
    """What is refused is rolled back, its key with it: nothing to keep."""
    if response.status_code >= 400:
        return
    if isinstance(response, HttpResponse) and len(response.content) <= MAX_BODY:
        answer.status = response.status_code
        answer.headers = dict(response.items())
        answer.body = response.content
        answer.save(update_fields=["status", "headers", "body"])


def _digest_of(request: HttpRequest) -> str:
    """Who asks for what. Nobody gets an answer that was another's: the view, which knows who may
    ask, is not asked again."""
    told = sha256()
    for part in (
        request.method or "",
        request.get_full_path(),
        request.headers.get("Authorization", ""),
        request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""),
        request.headers.get("Content-Type", "").partition(";")[0],  # a form's boundary is chance
        request.headers.get("Content-Length", ""),
    ):
        told.update(part.encode() + b"\0")
    told.update(_body_of(request))
    return told.hexdigest()


def _body_of(request: HttpRequest) -> bytes:
    """Without files, and what is too long for memory: of these the length has to do."""
    if request.content_type == "multipart/form-data":
        return b""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length = request.headers.get("Content-Length", "")
    if limit is not None and length.isdecimal() and int(length) > limit:
        return b""
    try:
        return request.body
    except RawPostDataException:
        return b""
