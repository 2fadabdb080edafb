"""What a limited tenant's client sees, and that others see nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import UUID, uuid4

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory

from gateway import admission
from gateway.middleware import tenant_middleware
from tests.gateway import maps

BETA = UUID(int=2)
EU = [maps.cell("eu", "eu-west")]
KEPT = (admission.gate_of, admission.store_of)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However slow the machine is, its store is asked, and slots end with their requests."""
    monkeypatch.setattr("tenants.limits.store.PATIENCE_SECONDS", 300)
    monkeypatch.setattr("tenants.limits.admission.LEASE_SECONDS", 3600)
    forget()
    yield
    forget()


def forget() -> None:
    for kept in KEPT:
        kept.cache_clear()


@pytest.fixture
def region(publish: Callable[..., None], valkey: str, unhurried: None) -> Callable[..., Client]:
    """`region(rows=5)`: acme has this limit, beta has none. Returns acme's client."""

    def make(**limits: int) -> Client:
        publish(
            cells=EU,
            tenants=[
                maps.tenant("acme", "eu", id=uuid4(), plan="small", limits=limits),
                maps.tenant("beta", "eu", id=BETA),
            ],
        )
        return Client(headers={"host": "acme.localhost"})

    return make


def test_a_flood_is_refused_with_what_the_limit_is_and_when_to_come_back(region):
    acme = region(requests_per_minute=1, burst=2)
    answers = [acme.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["Content-Type"] == "application/problem+json"
    told = refused.json()
    assert told["type"] == "urn:meridian:problem:too-many-requests"
    assert (told["limit"], told["allowed"], told["plan"]) == ("requests_per_minute", 1, "small")
    assert told["region"] == "eu-west"


def test_every_answer_says_how_much_is_left(region):
    acme = region(requests_per_minute=1, burst=2)
    answers = [acme.get("/") for _ in range(3)]
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"requests";q=2;w=120'}
    told = [re.fullmatch(r'"requests";r=(\d);t=(\d+)', answer["RateLimit"]) for answer in answers]
    left, full = zip(*(map(int, each.groups()) for each in told if each), strict=True)
    assert left == (1, 0, 0)
    assert 1 <= full[0] <= 60 < full[2] <= full[1] <= 120


def test_a_tenant_without_limits_is_told_of_none_and_asks_nobody(region, monkeypatch):
    region(requests_per_minute=60)
    monkeypatch.setattr(admission, "gate_of", lambda region: pytest.fail("the store was asked"))
    answer = Client(headers={"host": "beta.localhost"}).get("/")
    assert answer.status_code == 200
    assert not answer.has_header("RateLimit")


def test_the_flood_of_one_tenant_is_none_of_anothers_business(region):
    acme, beta = region(requests_per_minute=1, burst=2), Client(headers={"host": "beta.localhost"})
    for _ in range(10):
        acme.get("/")
        assert beta.get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "10.0.0.1"},
        {"x-meridian-edge": "1"},
        {"x-replay-state": "1"},
        {"x-plan": "unlimited"},
        {"authorization": "Bearer somebody"},
        {"host": "ACME.localhost:1"},
        {"host": "acme.localhost."},
    ],
)
def test_no_header_makes_it_another_tenants_request(region, headers):
    acme = region(requests_per_minute=1, burst=1)
    assert acme.get("/").status_code == 200
    assert acme.get("/", headers=headers).status_code == 429


def test_another_region_counts_for_itself(region, settings, publish, tmp_path):
    acme = region(requests_per_minute=1, burst=1)
    acme.get("/")
    assert acme.get("/").status_code == 429
    known = maps.cell("eu", "eu-west", "eu-central")
    document = (tmp_path / "eu-west" / "directory.json").read_text()
    settings.MERIDIAN_REGION = "eu-central"
    maps.publish(tmp_path / "eu-central", cells=[known])
    (tmp_path / "eu-central" / "directory.json").write_text(document)
    assert acme.get("/").status_code == 200


def test_a_changed_limit_is_in_force_with_the_next_request(region, publish):
    identity = uuid4()

    def limit(**limits: int) -> None:
        publish(
            cells=EU, tenants=[maps.tenant("acme", "eu", id=identity, plan="small", limits=limits)]
        )

    region()
    acme = Client(headers={"host": "acme.localhost"})
    assert [acme.get("/").status_code for _ in range(3)] == [200] * 3
    limit(requests_per_minute=1, burst=1)
    assert [acme.get("/").status_code for _ in range(2)] == [200, 429]
    limit()
    assert acme.get("/").status_code == 200


class Slow:
    """A view that is under way until it is told to end."""

    def __init__(self, response: Callable[[], HttpResponse] = HttpResponse) -> None:
        self.began, self.end = Event(), Event()
        self._response = response

    def __call__(self, request):
        if request.path == "/slow":
            self.began.set()
            assert self.end.wait(60)
        return self._response()


def ask(view, path: str):
    request = RequestFactory(headers={"host": "acme.localhost"}).get(path)
    return tenant_middleware(view)(request)


def test_requests_at_the_same_time_are_limited_until_they_end(region):
    region(concurrent_requests=1)
    slow = Slow()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(ask, slow, "/slow")
        assert slow.began.wait(60)
        refused = ask(slow, "/")
        slow.end.set()
        assert under_way.result().status_code == 200
    assert refused.status_code == 429
    assert b"too-many-at-once" in refused.content
    assert refused["Retry-After"] == "1"
    assert ask(slow, "/").status_code == 200


def test_a_view_that_fails_keeps_no_slot(region):
    region(concurrent_requests=1)

    def broken(request):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(broken, "/")
    assert ask(Slow(), "/").status_code == 200


def test_a_stream_holds_its_slot_until_its_last_byte_is_out(region):
    region(concurrent_requests=1)
    stream = ask(Slow(lambda: StreamingHttpResponse(iter([b"a", b"b"]))), "/")
    assert ask(Slow(), "/").status_code == 429
    assert b"".join(stream.streaming_content) == b"ab"
    stream.close()
    assert ask(Slow(), "/").status_code == 200
