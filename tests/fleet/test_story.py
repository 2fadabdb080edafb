"""The whole story on a real fleet, in order: onboard, write, be refused, lose a region, return."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.fleet import on_call
from tests.fleet.conftest import Fleet

TICKETS = "/api/desk/tickets"
TENANTS = {
    "acme": ("shared", "EU"),
    "umbra": ("shared", "EU"),
    "globex": ("schema", "EU"),
    "initech": ("dedicated", "US"),
}


@pytest.fixture(scope="module")
def tenants(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """Four tenants, onboarded in all three modes; their writers are at home. Whoever is on call
    hears of eu-central's agent."""
    onboarded = {
        slug: fleet.json("tenant", "create", slug, "--mode", mode, "--residency", residency)
        for slug, (mode, residency) in TENANTS.items()
    }
    on_call.listen(fleet, "eu-central")
    for cell in ("control", "eu-shared", "eu-schema"):
        fleet.manage("region", "failback", cell)
    return onboarded


def post(fleet: Fleet, tenant: dict[str, Any], title: str, **options: Any) -> Any:
    return fleet.request(
        "POST",
        TICKETS,
        host=tenant["host"],
        token=tenant["api_token"],
        json={"title": title},
        **options,
    )


def titles(fleet: Fleet, tenant: dict[str, Any], at: str = "") -> list[str]:
    answer = fleet.request(
        "GET", f"{TICKETS}?limit=1000", host=tenant["host"], token=tenant["api_token"], at=at
    )
    assert answer.status_code == 200, answer.text
    return [ticket["title"] for ticket in answer.json()["items"]]


def eventually(check: Any, seconds: float = 240.0) -> Any:
    """Repeat a check that must come true; what it found."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = check()
            assert found
        except (AssertionError, httpx.HTTPError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return found


def test_each_mode_gets_a_lawful_place(fleet: Fleet, tenants: dict[str, Any]) -> None:
    for slug, (mode, residency) in TENANTS.items():
        tenant = tenants[slug]
        assert (tenant["mode"], tenant["residency"], tenant["state"]) == (mode, residency, "active")
        lawful = {"eu-west", "eu-central"} if residency == "EU" else {"us-east"}
        assert set(tenant["regions"]) == lawful
        assert tenant["writer"] in lawful


def test_a_write_through_the_edge_is_seen_in_the_peer_region(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    peer = fleet.region("eu-central")["web"]
    for slug in ("acme", "globex"):
        answer = post(fleet, tenants[slug], f"of {slug}")
        assert answer.status_code == 201, answer.text
        assert answer.headers["x-region"] == "eu-west"
        eventually(lambda slug=slug: titles(fleet, tenants[slug], at=peer) == [f"of {slug}"])
    assert post(fleet, tenants["initech"], "of initech").headers["x-region"] == "us-east"


def test_a_remote_write_is_with_a_peer_when_it_is_acknowledged(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    answer = post(fleet, tenants["acme"], "durable", headers={"x-durability": "remote"})
    assert (answer.status_code, answer.headers["x-durability"]) == (201, "remote")


def test_two_tenants_of_one_cell_do_not_see_each_other(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    post(fleet, tenants["umbra"], "secret of umbra")
    assert "secret of umbra" not in titles(fleet, tenants["acme"])
    stolen = {**tenants["acme"], "host": tenants["umbra"]["host"]}
    answer = fleet.request("GET", TICKETS, host=stolen["host"], token=stolen["api_token"])
    assert answer.status_code == 401


@pytest.mark.parametrize("slug", ["acme", "globex", "initech"])
def test_raw_sql_under_the_application_role_finds_nothing(
    fleet: Fleet, tenants: dict[str, Any], slug: str
) -> None:
    replica = fleet.json("cell", "show", tenants[slug]["cell"])["replicas"][0]
    with psycopg.connect(replica["dsn_admin"]) as admin:
        tables = "SELECT schemaname FROM pg_tables WHERE tablename = 'desk_ticket'"
        (schema,) = admin.execute(tables).fetchone() or ("",)
    with psycopg.connect(replica["dsn_app"], autocommit=True) as app:
        assert app.execute(f"SELECT count(*) FROM {schema}.desk_ticket").fetchone() == (0,)
        with pytest.raises(psycopg.Error):
            app.execute(f"INSERT INTO {schema}.desk_ticket (title) VALUES ('forged')")
        for statement in (
            "SELECT state FROM fabric.change",
            "UPDATE fabric.gate SET valid_until = 'infinity'",
            "CREATE TABLE public.mine ()",
            "CREATE TEMP TABLE mine ()",
            "SET ROLE meridian_owner",
        ):
            with pytest.raises(psycopg.Error):
                app.execute(statement)


def test_data_under_eu_law_does_not_exist_in_the_us(fleet: Fleet, tenants: dict[str, Any]) -> None:
    databases = {}
    for region in fleet.status()["regions"]:
        with psycopg.connect(region["postgres"]) as admin:
            rows = admin.execute("SELECT datname FROM pg_database").fetchall()
            databases[region["name"]] = {row[0] for row in rows if row[0].startswith("cell_")}
    own = fleet.json("cell", "show", tenants["initech"]["cell"])["replicas"]
    assert databases["us-east"] == {replica["database"] for replica in own}
    assert {"cell_eu_shared", "cell_eu_schema"} <= databases["eu-west"] & databases["eu-central"]


def test_every_way_into_the_us_is_refused_and_the_refusal_names_the_rule(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    before = fleet.json("tenant", "list")
    placed = fleet.manage(
        "tenant", "create", "eve", "--mode", "dedicated", "--residency", "EU",
        "--regions", "us-east", check=False,
    )  # fmt: skip
    assert placed.returncode == 1
    assert "M01" in placed.stderr
    moved = fleet.manage("region", "switchover", "eu-shared", "--to", "us-east", check=False)
    assert (moved.returncode, "B05" in moved.stderr) == (1, True)
    failed_over = fleet.manage("region", "failover", "eu-west", "--to", "us-east", check=False)
    assert (failed_over.returncode, "B05" in failed_over.stderr) == (1, True)
    there = fleet.region("us-east")["web"]
    written = post(fleet, tenants["acme"], "over there", at=there)
    assert written.status_code == 421
    assert written.json()["rules"] == ["R01"]
    checked = fleet.manage(
        "residency", "check", "acme", "--region", "us-east", "--operation", "replicate", "--json",
        check=False,
    )  # fmt: skip
    assert checked.returncode == 1
    assert fleet.json("tenant", "list") == before


def test_a_planned_switchover_loses_nothing(fleet: Fleet, tenants: dict[str, Any]) -> None:
    moved = fleet.json("region", "switchover", "eu-schema", "--to", "eu-central")
    assert (moved["cell"], moved["from"], moved["to"]) == ("eu-schema", "eu-west", "eu-central")
    assert moved["rpo_writes"] == 0
    assert moved["rto_seconds"] > 0
    eventually(
        lambda: post(fleet, tenants["globex"], "after").headers.get("x-region") == "eu-central"
    )
    back = fleet.json("region", "failback", "eu-schema")
    assert (back["to"], back["rpo_writes"]) == ("eu-west", 0)


class Writer:
    """Writes through the edge without a pause, and remembers what was acknowledged."""

    def __init__(self, fleet: Fleet, tenant: dict[str, Any]) -> None:
        self.acknowledged: list[tuple[str, str]] = []
        self._fleet, self._tenant = fleet, tenant
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                answer = post(self._fleet, self._tenant, f"w{number}")
            except (OSError, httpx.HTTPError):
                continue  # the region died under the answer: nothing was acknowledged
            if answer.status_code == 201:
                self.acknowledged.append((f"w{number}", answer.headers["x-region"]))
            time.sleep(0.02)

    def regions(self) -> Iterator[str]:
        return (region for _, region in self.acknowledged)


def test_the_writers_region_is_killed_and_writes_go_on_and_it_returns_equal(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    eventually(lambda: fleet.json("tenant", "show", "acme")["writer"] == "eu-west")
    with Writer(fleet, tenants["acme"]) as writer:
        eventually(lambda: "eu-west" in writer.regions())
        fleet.run("break", "region", "eu-west", "--how", "kill")
        eventually(lambda: "eu-central" in writer.regions())
        assert fleet.region("eu-west")["up"] is False
        # Its gate opens before the map says so.
        eventually(lambda: fleet.json("tenant", "show", "acme")["writer"] == "eu-central")
        # The control cell moves, too: onboarding goes on without its first writer.
        eventually(lambda: fleet.manage("tenant", "list", check=False).returncode == 0)
        fleet.run("heal", "all")
    eventually(lambda: fleet.region("eu-west")["up"])
    for cell in ("control", "eu-shared", "eu-schema"):
        verdict = fleet.json("cell", "verify", cell)
        assert verdict["equal"], verdict
    kept = set(titles(fleet, tenants["acme"]))
    lost = [title for title, _ in writer.acknowledged if title not in kept]
    assert lost == []


def test_an_operator_can_fail_a_region_over_by_hand(fleet: Fleet, tenants: dict[str, Any]) -> None:
    moved = fleet.json("region", "failover", "eu-central")
    assert moved["from"] == "eu-central"
    assert {one["cell"] for one in moved["cells"]} >= {"eu-shared"}
    assert all(one["to"] == "eu-west" and one["rpo_writes"] == 0 for one in moved["cells"])
    assert moved["rto_seconds"] > 0


def test_a_frozen_region_loses_its_writers_and_cannot_write_when_it_thaws(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    eventually(lambda: fleet.json("tenant", "show", "acme")["writer"] == "eu-west")
    web = fleet.region("eu-west")["web"]
    fleet.run("break", "region", "eu-west", "--how", "freeze")
    eventually(lambda: post(fleet, tenants["acme"], "thaw").status_code == 201)
    fleet.run("heal", "all")
    eventually(lambda: fleet.region("eu-west")["up"])
    answer = post(fleet, tenants["acme"], "from the past", at=web)
    assert answer.status_code in (421, 503)
    assert "from the past" not in titles(fleet, tenants["acme"])
    assert fleet.json("cell", "verify", "eu-shared")["equal"]


def test_with_every_lawful_region_gone_the_tenant_is_dark_and_nobody_else_writes(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    dark = tenants["initech"]["cell"]
    fleet.run("break", "region", "us-east", "--how", "kill")
    try:
        refused = fleet.manage("region", "failover", "us-east", "--json", check=False)
        assert refused.returncode == 1
        assert "B06" in refused.stderr
        answer = post(fleet, tenants["initech"], "nowhere")
        assert answer.status_code == 503
        assert post(fleet, tenants["acme"], "the others go on").status_code == 201
        (down,) = eventually(lambda: on_call.told(fleet, dark, "eu-central"))
        assert down["state"] == "down"
        assert down["reason"].startswith(f"Nobody writes {dark}: us-east answers no client.")
    finally:
        fleet.run("heal", "all")
    eventually(lambda: post(fleet, tenants["initech"], "again").status_code == 201)
    eventually(lambda: on_call.told(fleet, dark, "eu-central")[-1]["state"] == "up")
    pages = on_call.told(fleet, dark, "eu-central")
    assert [page["key"] for page in pages] == [down["key"]] * 2, "each once"


def test_regions_that_cannot_hear_each_other_catch_up(
    fleet: Fleet, tenants: dict[str, Any]
) -> None:
    writer = fleet.json("cell", "show", "eu-shared")["writer"]
    peer = {"eu-west": "eu-central", "eu-central": "eu-west"}[writer]
    fleet.run("break", "link", writer, peer)
    assert post(fleet, tenants["acme"], "while cut").status_code == 201
    there = fleet.region(peer)["web"]
    assert "while cut" not in titles(fleet, tenants["acme"], at=there)
    fleet.run("heal", "all")
    eventually(lambda: "while cut" in titles(fleet, tenants["acme"], at=there))
