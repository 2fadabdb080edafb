"""Threads that write as the application does, through its models, while something happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.db import DatabaseError, OperationalError, connections

from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord

PAUSE_SECONDS = 0.005
ENOUGH = 20  # rows of each writer, before and after


@dataclass(slots=True)
class Writer:
    """Inserts a row and changes it, again and again. `acknowledged` are the titles of the rows."""

    tenant: TenantRecord
    region: str
    acknowledged: list[str] = field(default_factory=list)
    retried: int = 0
    failures: list[DatabaseError] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        book: Any = import_module("shelf.models").Book
        number = 0
        try:
            while not self._stop.is_set() and not self.failures:
                number += 1
                title = f"{self.tenant.slug} {self.region} {number}"
                self._until_acknowledged(book, title)
                time.sleep(PAUSE_SECONDS)
        finally:
            connections.close_all()  # this thread's

    def stop(self) -> None:
        self._stop.set()

    def _until_acknowledged(self, book: Any, title: str) -> None:
        while True:
            with tenant_scope(self.tenant):
                rows = book.objects.using(cell_alias(self.tenant.cell, region=self.region))
                try:
                    made = rows.create(title=f"{title} …")
                    rows.filter(pk=made.pk).update(title=title)
                except DatabaseError as error:
                    # A lock, or a closed door: the gateway answers 503, and one repeats.
                    closed = getattr(error.__cause__, "sqlstate", None) == "MDF01"
                    if not closed and not isinstance(error, OperationalError):
                        self.failures.append(error)
                        return
                    self.retried += 1
                    time.sleep(PAUSE_SECONDS)
                else:
                    self.acknowledged.append(title)
                    return


@contextmanager
def writing(tenants: list[TenantRecord], regions: list[str]) -> Iterator[list[Writer]]:
    """A writer for each tenant in each region, before, during and after the block."""
    writers = [Writer(tenant, region) for tenant in tenants for region in regions]
    threads = [threading.Thread(target=writer.work) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        _wait(writers)
        yield writers
        _wait(writers)
    finally:
        for writer in writers:
            writer.stop()
        for thread in threads:
            thread.join()


def _wait(writers: list[Writer]) -> None:
    wanted = {id(writer): len(writer.acknowledged) + ENOUGH for writer in writers}
    deadline = time.monotonic() + 240
    while any(len(each.acknowledged) < wanted[id(each)] and not each.failures for each in writers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
