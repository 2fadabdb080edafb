"""What a process counts for itself, while its own thread brings it to the store."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import UUID, uuid4

import pytest

from tenants.limits import connections as module
from tenants.limits.connections import Holders
from tenants.limits.counts import Done
from tenants.limits.store import Store
from tenants.limits.tally import Tally
from tenants.limits.warned import Warnings


@pytest.fixture
def nowhere() -> Store:
    """A store that nobody has started."""
    return Store("redis://127.0.0.1:1")


class Slow:
    """Counts whose first exchange takes until `go`; `second` is set by another one meanwhile."""

    def __init__(self) -> None:
        self.first, self.second, self.go = Event(), Event(), Event()
        self.sent: list[Mapping[UUID, Done]] = []
        self.tenant = uuid4()

    def add(self, done: Mapping[UUID, Done]) -> None:
        self._exchange()
        self.sent.append(done)

    def warned(self) -> dict[UUID, str]:
        return {self.tenant: "rows=90%" if self._exchange() else "rows=80%"}

    def _exchange(self) -> bool:
        if self.first.is_set():
            self.second.set()
            return True
        self.first.set()
        assert self.go.wait(60)
        return False

    def let_two(self, work) -> None:
        """The second begins while the first is under way."""
        with ThreadPoolExecutor(2) as threads:
            one = threads.submit(work)
            assert self.first.wait(60)
            other = threads.submit(work)
            self.second.wait(0.5)  # in vain, where one waits for the other
            self.go.set()
            one.result()
            other.result()


def test_what_two_threads_send_at_once_is_counted_once(nowhere: Store):
    tally, slow = Tally(nowhere), Slow()
    tally._counts = slow
    tally._requests.append((slow.tenant, 0.1, False))
    slow.let_two(tally.flush)
    assert sum(done[slow.tenant].requests for done in slow.sent) == 1


def test_what_was_read_before_is_not_what_is_known_last(nowhere: Store):
    warnings, slow = Warnings(nowhere), Slow()
    warnings._counts = slow
    slow.let_two(warnings.refresh)
    assert warnings._known == {slow.tenant: "rows=90%"}


def test_who_waited_while_the_last_one_left_is_counted(nowhere: Store, limited, monkeypatch):
    """The store is told just then that nobody holds a connection."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 60.0)
    holders, tenant, first, second = Holders(nowhere), limited(connections=1), Event(), Event()
    holders.enter(tenant, first)
    waits = Event()
    wait = holders._changed.wait

    def waiting(timeout: float) -> bool:
        waits.set()
        return wait(timeout)

    monkeypatch.setattr(holders._changed, "wait", waiting)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(holders.enter, tenant, second)
        assert waits.wait(60)
        with holders._changed:
            holders.leave(tenant.id, first)
            holders.tell()
        late.result()
    assert holders.full(tenant)
