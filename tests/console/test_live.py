"""Probes, judgements and the map: what the dashboard says when regions are slow, dead or odd."""

import os
import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from console.live.cells import read_cell
from console.live.diagram import Place, draw
from console.live.probing import Answer, Prober
from console.live.regions import agent_published, judge, written_in
from regions.deployment import Endpoint, RegionSite
from regions.topology import CellSpec, Lease, TenancyMode, WritePolicy
from tests.tenants.workers import until

EU = CellSpec("eu", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, ("eu-west", "eu-central"))
AA = CellSpec("aa", TenancyMode.SHARED, WritePolicy.ACTIVE_ACTIVE, ("eu-west", "us-east"))


@pytest.fixture
def site(tmp_path: Path) -> RegionSite:
    nowhere = Endpoint("127.0.0.1", 1)
    return RegionSite("eu-west", "IE", "EU", 1, nowhere, nowhere, nowhere, tmp_path)


def test_one_slow_probe_does_not_hold_the_others_up() -> None:
    release, prober = threading.Event(), Prober()
    probes = {"slow": release.wait, "fast": lambda: 1}
    try:
        until(lambda: prober.gather(probes, timeout=0.5)["fast"] == Answer(1))
        slow = prober.gather(probes, timeout=0.05)["slow"]
    finally:
        release.set()
    assert slow.problem == "no answer within 0.05 s"


def test_a_probe_that_hangs_is_not_started_again_and_its_late_answer_is_used() -> None:
    release = threading.Event()
    runs: list[int] = []

    def slow() -> str:
        runs.append(1)
        release.wait(60)
        return "late"

    prober = Prober()
    for _ in range(3):
        assert prober.gather({"region": slow}, timeout=0.05)["region"].value is None
    release.set()
    assert prober.gather({"region": slow}, timeout=30)["region"].value == "late"
    assert len(runs) == 1


def test_who_takes_an_answer_last_does_not_forget_the_run_that_began_since() -> None:
    prober, first, second = Prober(), Future(), Future()
    prober._running["region"] = second
    first.set_result("early")
    with patch.object(prober, "_submit", return_value=first):  # as it was, before another page
        assert prober.gather({"region": str}, timeout=30)["region"].value == "early"
    assert prober._running == {"region": second}


def test_a_probe_that_fails_is_a_sentence_of_one_line() -> None:
    def refused() -> None:
        raise OSError("connection refused\nDETAIL: more")

    assert (
        Prober().gather({"region": refused}, timeout=30)["region"].problem == "connection refused"
    )


def test_a_region_without_postgresql_is_down_and_says_why(site: RegionSite) -> None:
    live = judge(site, Answer(None, "connection refused"), Answer(False), None, ())
    assert live.state == "down"
    assert "PostgreSQL: connection refused" in live.reason


def test_a_region_whose_web_or_agent_is_missing_is_degraded(site: RegionSite) -> None:
    now = datetime.now(UTC)
    assert judge(site, Answer(1.0), Answer(True), now, ("eu",)).state == "up"
    assert judge(site, Answer(1.0), Answer(False), now, ("eu",)).state == "degraded"
    assert judge(site, Answer(1.0), Answer(True), None, ("eu",)).state == "degraded"


def test_a_region_that_is_down_writes_nothing(site: RegionSite) -> None:
    assert judge(site, Answer(None, "gone"), Answer(True), None, ("eu",)).writes == ()


def test_the_moment_of_the_last_lease_change_is_that_of_the_agents_file(tmp_path: Path) -> None:
    assert agent_published(tmp_path) is None
    (tmp_path / "leases.json").write_text("{}")
    os.utime(tmp_path / "leases.json", (90.0, 90.0))
    assert agent_published(tmp_path) == datetime.fromtimestamp(90, UTC)


def test_a_region_writes_what_it_holds_the_lease_of_and_its_active_active_cells() -> None:
    leases = {"eu": Lease("eu-west", 1)}
    assert written_in("eu-west", [EU, AA], leases) == ("eu", "aa")
    assert written_in("eu-central", [EU, AA], leases) == ()
    assert written_in("us-east", [EU, AA], leases) == ("aa",)


def test_a_cells_connection_strings_never_reach_the_page() -> None:
    live = read_cell(
        EU,
        Answer(
            {
                "writer": "eu-west",
                "epoch": 4,
                "replicas": [
                    {
                        "region": "eu-west",
                        "database": "cell_eu",
                        "dsn_app": "postgresql://u:secret@h/d",
                        "dsn_admin": "postgresql://p:secret@h/d",
                        "writable": True,
                        "lag_seconds": 0.5,
                        "dead_letters": 2,
                    }
                ],
            }
        ),
        {},
    )
    assert "secret" not in repr(live)
    assert (live.writer, live.epoch, live.dead_letters, live.state) == (
        "eu-west",
        4,
        2,
        "attention",
    )


def test_a_cell_that_does_not_answer_shows_its_last_known_writer_as_unknown() -> None:
    live = read_cell(EU, Answer(None, "no answer within 1.5 s"), {"eu": Lease("eu-west", 9)})
    assert (live.state, live.writer, live.epoch) == ("unknown", "eu-west", 9)
    assert live.unknown == ("eu-west", "eu-central")


def test_the_map_has_a_frame_a_jurisdiction_and_lines_only_between_regions_that_share_cells() -> (
    None
):
    places = [
        Place("eu-west", "IE", "EU", "up", ("eu",)),
        Place("eu-central", "DE", "EU", "down", ()),
        Place("us-east", "US", "US", "up", ()),
    ]
    diagram = draw(places, {"eu": ("eu-west", "eu-central"), "us": ("us-east",)})
    assert [frame.jurisdiction for frame in diagram.frames] == ["EU", "US"]
    assert [(line.a, line.b, line.broken) for line in diagram.lines] == [
        ("eu-west", "eu-central", True)
    ]
    assert "eu-central (DE, EU) is down and writes nothing." in diagram.description


def test_the_map_of_an_empty_deployment_can_be_drawn() -> None:
    assert draw([], {}).nodes == ()


def test_a_cells_lag_by_origin_and_its_last_comparison_are_read_from_its_status() -> None:
    def replica(region: str, at: str, differing: int) -> dict[str, object]:
        return {
            "region": region,
            "up": True,
            "writable": True,
            "lag": [{"from": "us-east", "seconds": 2.5, "rows": 7, "bytes": None}],
            "dead_letters": 0,
            "conflicts": 3,
            "verified": {
                "at": at,
                "equal": not differing,
                "differing_rows": differing,
                "repaired_rows": 0,
                "problem": None,
            },
        }

    replicas = [
        replica("eu-west", "2026-11-30T08:00:00+00:00", 0),
        replica("eu-central", "2026-11-30T08:30:00+00:00", 2),
    ]
    document = {"writer": "eu-west", "epoch": 1, "replicas": replicas}
    cell = read_cell(EU, Answer(document), {})
    assert cell.compared is not None
    assert (cell.compared.at.minute, cell.compared.left, cell.state) == (30, 2, "attention")
    (lag,) = cell.replicas[0].lags
    assert (lag.origin, lag.seconds, lag.rows, lag.bytes) == ("us-east", 2.5, 7, None)
    before = read_cell(EU, Answer({**document, "replicas": replicas[:1]}), {})
    assert (before.state, before.compared is not None and before.compared.equal) == ("ok", True)
