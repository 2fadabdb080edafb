"""One a process, whoever asks first and however many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from console.live.snapshot import observatory
from tenants.backend.pool import process_pool
from tenants.limits.connections import holders
from tenants.once import Once


def test_threads_that_ask_first_at_the_same_time_get_the_same_one():
    both = threading.Barrier(2)

    @Once
    def one() -> object:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # for another that makes one
        return object()

    with ThreadPoolExecutor(2) as threads:
        first, second = (threads.submit(one) for _ in range(2))
        assert first.result() is second.result() is one()


def test_a_look_makes_none_and_who_asks_after_it_was_forgotten_gets_another():
    one = Once(object)
    assert one.made is None
    kept = one()
    assert one.made is kept
    one.forget()
    assert one() is not kept


def test_a_child_that_was_forked_while_one_was_made_makes_its_own():
    one = Once(object)
    one._making.acquire()  # by a thread that the child does not have
    one.forget()
    assert one() is one()


@pytest.mark.parametrize("what", [process_pool, holders, observatory])
def test_what_bounds_a_whole_process_is_there_once(what):
    assert isinstance(what, Once)
