"""The same views in every stack."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from shop.models import Item


def ping(request: HttpRequest) -> HttpResponse:
    return HttpResponse("pong", content_type="text/plain")


def items(request: HttpRequest) -> JsonResponse:
    """The 20 newest: one query."""
    found = Item.objects.order_by("-id")[:20]
    rows = [
        {
            "id": item.id,
            "title": item.title,
            "body": item.body,
            "price": item.price,
            "created_at": item.created_at,
        }
        for item in found
    ]
    return JsonResponse({"items": rows})


urlpatterns = [path("ping/", ping), path("list/", items)]
