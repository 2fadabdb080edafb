"""The log is pruned of what is old and applied, in portions, from each origin's oldest on."""

from __future__ import annotations

from regions.replication import apply, housekeeping
from regions.replication.position import OWN
from tests.regions.replication.looking import DE, EU, US
from tests.regions.replication.mesh import Mesh

_NUMBERS = "SELECT seq FROM fabric.change WHERE origin = %s ORDER BY seq"


def prune(mesh: Mesh, region: str) -> int:
    return mesh.loop.run_until_complete(housekeeping.prune(mesh.appliers[region]))


def age(mesh: Mesh, *, up_to: int) -> None:
    """EU's entries up to that number are as old as can be, everywhere."""
    for region in (EU, DE, US):
        with mesh.administrator(region) as admin:
            admin.execute("UPDATE fabric.change SET stamp = 1 WHERE origin = %s AND seq <= %s",
                          (mesh.node(EU), up_to))  # fmt: skip


def numbers(mesh: Mesh, region: str) -> list[int]:
    return [seq for (seq,) in mesh.write(region, _NUMBERS, mesh.node(EU))]


def write(mesh: Mesh, first: int, last: int) -> None:
    for number in range(first, last):
        mesh.write(EU, "INSERT INTO note (id) VALUES (%s)", number)


def test_old_entries_go_in_portions_and_young_ones_stay(mesh: Mesh) -> None:
    write(mesh, 1, 8)
    mesh.settle()
    known = numbers(mesh, EU)
    age(mesh, up_to=known[-3])
    taken = [prune(mesh, EU)]
    while taken[-1]:
        taken.append(prune(mesh, EU))
    assert sum(taken) == len(known) - 2
    assert max(taken) <= housekeeping.PRUNED_AT_ONCE
    for region in (DE, US):
        while prune(mesh, region):
            pass
        assert numbers(mesh, region) == numbers(mesh, EU) == known[-2:]


def test_neither_an_origins_newest_entry_goes_nor_one_that_is_not_applied(mesh: Mesh) -> None:
    mesh.settle()
    write(mesh, 1, 4)
    mesh.await_inbox(EU, DE)
    mesh.deliver(EU, US)
    known = numbers(mesh, EU)
    age(mesh, up_to=known[-1])
    for region in (EU, DE, US):
        while prune(mesh, region):
            pass
    assert numbers(mesh, EU) == numbers(mesh, US) == known[-1:]
    assert numbers(mesh, DE) == known[-3:]
    mesh.loop.run_until_complete(_apply_all(mesh))
    while prune(mesh, DE):
        pass
    assert numbers(mesh, DE) == known[-1:]


async def _apply_all(mesh: Mesh) -> None:
    while (await apply.step(mesh.appliers[DE], mesh.node(EU))).more:
        pass


def pulse(mesh: Mesh, last: int | None, *, due: bool = False) -> int | None:
    """As EU's agent looks; the number of the heartbeat, if it made one."""
    params = {"node": mesh.node(EU), "last": last, "due": due}
    with mesh.administrator(EU) as admin:
        row = admin.execute(housekeeping.PULSE, params).fetchone()
    assert row is not None
    beat, trusted, barred, _ = row
    assert trusted
    assert not barred
    return None if beat is None else int(beat)


def test_where_nothing_was_written_a_heartbeat_is_made_only_when_it_is_due(mesh: Mesh) -> None:
    first = pulse(mesh, None)
    assert pulse(mesh, first) is None
    second = pulse(mesh, first, due=True)
    assert numbers(mesh, EU)[-2:] == [first, second]


def test_what_was_written_is_followed_by_a_heartbeat_at_the_next_look(mesh: Mesh) -> None:
    first = pulse(mesh, None)
    write(mesh, 1, 2)
    written = numbers(mesh, EU)[-1]
    second = pulse(mesh, first)
    assert second is not None
    assert first is not None
    assert first < written < second
    assert pulse(mesh, second) is None
    mesh.settle()
    heard = mesh.write(
        DE, "SELECT heartbeat FROM fabric.watermark WHERE origin = %s", mesh.node(EU)
    )
    assert heard == [(second,)]


def test_what_an_agent_of_an_earlier_version_beats_counts_and_is_pruned_like_all(
    mesh: Mesh,
) -> None:
    write(mesh, 1, 3)
    with mesh.administrator(EU) as admin:
        admin.execute(
            "INSERT INTO fabric.change (origin, seq, xact, stamp, epoch, op, lead)"
            " SELECT %s, nextval('fabric.change_seq'), pg_current_xact_id(), fabric.next_stamp(),"
            " 0, 'H', true",
            (mesh.node(EU),),
        )
        known = numbers(mesh, EU)
        assert admin.execute(OWN).fetchone() == (known[-1],)
    write(mesh, 3, 4)
    mesh.settle()
    age(mesh, up_to=known[-1])
    for region in (EU, DE, US):
        while prune(mesh, region):
            pass
        assert numbers(mesh, region)[0] > known[-1]
