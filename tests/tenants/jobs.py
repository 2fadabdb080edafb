"""Tasks as any app has them, knowing nothing of tenants. What they did is in tags' names."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import shared_task
from django.conf import settings
from django.db import connection, transaction

from desk.models import Tag
from tenants.context import current_tenant


@shared_task
def note(name: str, *rest: Any) -> str:
    Tag.objects.get_or_create(name=name)
    return current_tenant().slug


@shared_task
def session(name: str) -> dict[str, Any]:
    """Who worked, in which of PostgreSQL's sessions, and what it saw there."""
    Tag.objects.get_or_create(name=name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = cursor.fetchone()[0]
    return {
        "tenant": current_tenant().slug,
        "process": os.getpid(),
        "session": server,
        "names": sorted(Tag.objects.values_list("name", flat=True)),
    }


@shared_task
def whose(*rest: Any) -> str:
    return current_tenant().slug


@shared_task(bind=True, max_retries=2)
def fail_once(self: Any, name: str) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=0.1)
    return note(name)


@shared_task
def fail(*rest: Any) -> None:
    raise ZeroDivisionError


@shared_task
def gather(slugs: list[str]) -> str:
    note(f"gathered {len(slugs)}")
    return ",".join([*slugs, current_tenant().slug])


@shared_task
def log(path: str, text: str, seconds: float = 0.0) -> None:
    time.sleep(seconds)
    with Path(path).open("a") as file:
        file.write(f"{current_tenant().slug} {text}\n")


@shared_task
def wait_for(begun: str, enough: str) -> None:
    """Says that it has begun, and lasts until the other file is there."""
    Path(begun).touch()
    while not Path(enough).exists():
        time.sleep(0.05)


@shared_task(bind=True)
def pulse(self: Any) -> None:
    """One tag a run, named after where it ran and the moment that it was started for."""
    tally(f"pulse {settings.MERIDIAN_REGION} {self.request.id[:12]}")


@shared_task
def die_once(path: str) -> str:
    """Takes the whole worker with it the first time."""
    marker = Path(path)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return current_tenant().slug


@shared_task
def hold(until: str) -> str:
    """A connection to the database, until there is such a file."""
    with transaction.atomic():
        Tag.objects.exists()
        while not Path(until).exists():
            time.sleep(0.05)
    return current_tenant().slug


@shared_task
def tally(name: str) -> None:
    """A tag each time that it runs."""
    Tag.objects.create(name=f"{name} {uuid4().hex[:12]}")


@shared_task
def slow(name: str, path: str, *, within: bool) -> None:
    """As `tally`, with a pause until there is such a file: in its transaction, or before it."""
    Path(f"{path}.begun").touch()
    if within:
        with transaction.atomic():
            tally(name)
            _wait_for(path)
    else:
        _wait_for(path)
        tally(name)


@shared_task(bind=True, max_retries=1)
def retry_within(self: Any, name: str) -> None:
    """Asks for another try from within a transaction, which that ends."""
    if self.request.retries == 0:
        with transaction.atomic():
            tally(f"{name}, undone")
            raise self.retry(countdown=0.1)
    tally(name)


def _wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.05)
