"""Killed by SIGKILL, wherever it is: the next run ends it, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tenants.migrating.conftest import EU, brought
from tests.tenants.migrating.looking import applied, run
from tests.tenants.migrating.test_rows import ALL_IN_ONE, SHOUT
from tests.tenants.mortal import Mortals, mortals
from tests.tenants.replicas import differences

TITLES = "SELECT title, colour FROM shelf_book ORDER BY title"
# It is killed again and again; each life lasts for so many statements more than the one before.
LONGER = 25


@pytest.fixture(scope="module")
def mortal(control, installed) -> Iterator[Mortals]:
    with mortals(
        "tests.tenants.migrating.mortal", settings="shelf_settings", path=str(installed.folder)
    ) as found:
        yield found


@pytest.mark.parametrize("mode", ["shared", "schema"])
def test_however_often_it_is_killed_everything_is_done_once(place, shelf, mortal, mode: str):
    where = place(mode, EU, tenants=2)
    for tenant in where.tenants:
        run(tenant, "INSERT INTO shelf_book (title) VALUES ('hush')")
    name = shelf.add(ALL_IN_ONE, preamble=SHOUT)
    lives = 1
    while mortal.killed_at(lives * LONGER, "migrate", words=[where.cell, "--parallel", "2"]):
        lives += 1
    assert lives > 2
    assert brought(where.cell)["state"] == "nothing"
    for tenant in where.tenants:
        for region in EU:
            wanted = [("hush!", "red"), ("one of 1", "red")]
            assert run(tenant, TITLES, region=region) == wanted
            assert {mark for mark in applied(tenant, region) if "#" in mark} == set()
            assert name in applied(tenant, region)
    assert differences(where.cell) == []
