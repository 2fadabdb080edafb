"""Health of this region's web process: `/healthz/live`, `/healthz/ready`, `/healthz/tenant`.

Guarantees an answer in about a second even when PostgreSQL is frozen: one probe at a time asks
it, in a thread of its own, and a check that waits in vain says so instead of hanging.
"""

from __future__ import annotations

import threading
import time
from functools import cache

import psycopg
from django.http import HttpRequest, HttpResponse, JsonResponse

from gateway.middleware import host_of
from gateway.probes import probe
from regions.current import deployment
from regions.deployment import APP_ROLE, CONTROL_DATABASE
from tenants.maps import here, region_map

FRESH_SECONDS = 0.2
PATIENCE_SECONDS = 1.0
# News of a tenant takes a few milliseconds.
WAIT_SECONDS = 0.03
LOOK_SECONDS = 0.001

_waiting = threading.Lock()


class PostgresProbe:
    """Does the server at `dsn` answer a query? Keeps one connection open."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._answered_at = float("-inf")
        self._running: threading.Thread | None = None

    def answers(self) -> bool:
        """True when it answered just now; waits at most PATIENCE_SECONDS."""
        asked_at = time.monotonic()
        if asked_at - self._answered_at < FRESH_SECONDS:
            return True
        with self._lock:
            if self._running is None or not self._running.is_alive():
                self._running = threading.Thread(target=self._ask, daemon=True, name="pg-probe")
                self._running.start()
            running = self._running
        running.join(PATIENCE_SECONDS)
        return self._answered_at >= asked_at - FRESH_SECONDS

    def _ask(self) -> None:
        for _ in range(2):
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(
                        self._dsn, autocommit=True, connect_timeout=2, application_name="health"
                    )
                self._connection.execute("SELECT 1")
            except psycopg.Error:
                # A connection from before a restart of the server fails once: try a new one.
                self.close()
            else:
                self._answered_at = time.monotonic()
                return

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def health(request: HttpRequest) -> HttpResponse | None:
    """The answer, if it is health that is asked about. It comes before hosts are looked at: a
    health check names the region's address."""
    match request.path_info:
        case "/healthz/live":
            return _status(200, "live")
        case "/healthz/ready":
            return ready()
        case "/healthz/tenant":
            return tenant_health(request)
        case "/healthz/probe":
            return probe(request, host_of(request))
    return None


def ready() -> HttpResponse:
    """200 when this region can serve: PostgreSQL answers and the map is loaded."""
    if not region_map().loaded:
        return _status(503, "not ready", reason="the agent has not published the map yet")
    if not probe_here().answers():
        return _status(503, "not ready", reason="the region's PostgreSQL does not answer")
    return _status(200, "ready")


def tenant_health(request: HttpRequest) -> HttpResponse:
    """200 when the tenant of the Host header is active and its cell is served here.

    With `?wait` a tenant that isn't active is waited for, WAIT_SECONDS at most: whoever onboards it
    hears at once when it is. One waits at a time, the others are answered.
    """
    known, host = region_map(), host_of(request)
    # Who asks waits for news.
    tenant = known.directories.current(fresh=True).by_host.get(host)
    if "wait" in request.GET and _waiting.acquire(blocking=False):
        try:
            until = time.monotonic() + WAIT_SECONDS
            while (tenant is None or tenant.state != "active") and time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
                tenant = known.directories.current(fresh=True).by_host.get(host)
        finally:
            _waiting.release()
    if tenant is None:
        return _status(404, "unknown host")
    cell = known.cell(tenant.cell)
    if cell is None or here() not in cell.regions:
        return _status(421, "not served here", tenant=tenant.slug)
    if tenant.state != "active":
        return _status(503, tenant.state, tenant=tenant.slug)
    lease = known.lease(tenant.cell)
    writer = lease.writer if lease else None
    return _status(200, "active", tenant=tenant.slug, cell=tenant.cell, writer=writer)


def probe_here() -> PostgresProbe:
    return _probe(deployment().dsn(here(), CONTROL_DATABASE, APP_ROLE))


@cache
def _probe(dsn: str) -> PostgresProbe:
    return PostgresProbe(dsn)


def _status(code: int, status: str, **members: object) -> HttpResponse:
    response = JsonResponse({"status": status, "region": here(), **members}, status=code)
    response["Cache-Control"] = "no-store"
    return response
