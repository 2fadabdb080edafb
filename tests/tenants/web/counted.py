"""Views of N statements, the same for a tenant and for plain Django; see `test_wire`."""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from desk.models import Tag


def reading(request: HttpRequest) -> HttpResponse:
    """`?statements=`"""
    for number in range(int(request.GET["statements"])):
        list(Tag.objects.filter(name=f"n{number}"))
    return HttpResponse()


async def reading_async(request: HttpRequest) -> HttpResponse:
    for number in range(int(request.GET["statements"])):
        await Tag.objects.filter(name=f"n{number}").aexists()
    return HttpResponse()


@csrf_exempt
def writing(request: HttpRequest) -> HttpResponse:
    """An insert, an update and a delete for each of `?rows=`."""
    for number in range(int(request.GET["rows"])):
        tag = Tag.objects.create(name=f"counted-{number}")
        Tag.objects.filter(pk=tag.pk).update(name=f"counted-{number}!")
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM desk_tag WHERE id = %s", [tag.pk])
    return HttpResponse()


def pure(request: HttpRequest) -> HttpResponse:
    """Touches no database."""
    return HttpResponse()


urlpatterns = [
    path("reading", reading),
    path("reading-async", reading_async),
    path("counted-writing", writing),
    path("pure", pure),
]
