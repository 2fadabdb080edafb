"""Waits until a tenant answers wherever it should: in each of its cell's regions and at the edge.

A part that isn't running (a region that is down, a deployment without web servers) is not waited
for: it catches up from its map when it starts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from regions.current import deployment
from regions.topology import CellSpec
from tenants.errors import ProvisioningFailed

PATIENCE_SECONDS = 30.0
TRY_SECONDS = 2.0
# News takes a few milliseconds, for which a region keeps its answer back; what takes longer is not
# asked more often for it.
FIRST_PAUSE_SECONDS = 0.002
PAUSE_GROWS = 1.4
LAST_PAUSE_SECONDS = 0.1


def wait_until_usable(slug: str, host: str, spec: CellSpec) -> None:
    """`host` is one of the tenant's, `spec` its cell. Raises ProvisioningFailed, naming where the
    tenant is still unknown."""
    places = list(_places(spec))
    with ThreadPoolExecutor(len(places)) as pool:
        waits = [pool.submit(_wait, slug, host, spec, place, url) for place, url in places]
    for wait in waits:
        wait.result()


def _wait(slug: str, host: str, spec: CellSpec, place: str, url: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = FIRST_PAUSE_SECONDS
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=TRY_SECONDS)
    with closing(connection):
        while True:
            answer = _ask(connection, host, spec)
            if answer in ("usable", "not running"):
                return
            if time.monotonic() > deadline:
                raise ProvisioningFailed(
                    f"Tenant {slug!r} is ready, but {place} doesn't serve it after "
                    f"{PATIENCE_SECONDS:g} s ({answer}): see that region's agent log."
                )
            time.sleep(pause)
            pause = min(PAUSE_GROWS * pause, LAST_PAUSE_SECONDS)


def _places(spec: CellSpec) -> Iterator[tuple[str, str]]:
    for region in spec.regions:
        yield region, deployment().region(region).web_url
    yield "the edge", deployment().edge_url


def _ask(connection: HTTPConnection, host: str, spec: CellSpec) -> str:
    try:
        connection.request("GET", "/healthz/tenant?wait", headers={"Host": host})
        response = connection.getresponse()
        body = response.read()
    except ConnectionRefusedError:
        return "not running"
    except (HTTPException, OSError) as error:
        connection.close()
        return type(error).__name__
    if response.status != 200:
        return f"status {response.status}"
    known = json.loads(body)
    if known.get("cell") != spec.name:
        return f"it still looks for it in cell {known.get('cell')}"
    if spec.policy.leased and known.get("writer") is None:
        return "no region has the cell's lease yet"
    return "usable"
