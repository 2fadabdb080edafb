"""The checker finds what is planted, and finds nothing in a run that lost nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.checker import Observed, Verdict, check
from tests.faults.history import (
    CLIENT,
    Discarded,
    Entry,
    Event,
    Operation,
    Outcome,
    Replica,
    Tables,
)
from tests.faults.report import Line, table
from tests.faults.workloads import WORKLOADS
from tests.faults.workloads.base import Fate
from tests.faults.workloads.registers import content

REGIONS = ("eu-west", "eu-central", "us-east")
EU, DE, US = REGIONS


def write(client: int, serial: int, key: int = 1, field: str = "title") -> Operation:
    region = REGIONS[(client - 1) % 3]
    return Operation(client * CLIENT + serial, region, "registers", "write", key, field=field)


def told(operation: Operation, outcome: Outcome = Outcome.OK) -> Event:
    return Event(operation, outcome, 1.0, 1.1)


def replicas(tables: Tables, entries: dict[int, Entry]) -> list[Replica]:
    texts = {name: {key: str(row) for key, row in rows.items()} for name, rows in tables.items()}
    return [Replica(region, tables, entries, texts) for region in REGIONS]


def card(**fields: object) -> Tables:
    return {"board_card": {1: {"id": 1, "title": "", "votes": 0, **fields}}}


FIRST, SECOND = write(1, 1), write(2, 1)
SEEN = {FIRST.number: Entry(("",), 1), SECOND.number: Entry((FIRST.value,), 2)}
UNSEEN = {FIRST.number: Entry(("",), 1), SECOND.number: Entry(("",), 2)}
HISTORY = [told(FIRST), told(SECOND)]
RECORD = Discarded("board_card", frozenset({FIRST.value}))
LATER = card(title=SECOND.value)


def test_a_value_that_its_replacer_had_seen_is_not_lost() -> None:
    verdict = check(HISTORY, replicas(LATER, SEEN), [], WORKLOADS)
    assert verdict.passed
    assert verdict.fates == {Fate.SURVIVES: 1, Fate.REPLACED: 1}


def test_a_value_that_nobody_saw_and_nobody_recorded_is_lost_in_silence() -> None:
    verdict = check(HISTORY, replicas(LATER, UNSEEN), [], WORKLOADS)
    assert [line.split()[1] for line in verdict.silent] == [FIRST.value]
    assert not verdict.passed


def test_the_same_with_a_record_is_no_loss() -> None:
    verdict = check(HISTORY, replicas(LATER, UNSEEN), [RECORD], WORKLOADS)
    assert verdict.passed
    assert verdict.fates[Fate.RECORDED] == 1


def test_a_record_in_another_table_is_none() -> None:
    elsewhere = replace(RECORD, table="board_slot")
    assert check(HISTORY, replicas(LATER, UNSEEN), [elsewhere], WORKLOADS).silent


def test_an_acknowledged_operation_whose_entry_is_gone_is_lost_in_silence() -> None:
    gone = {FIRST.number: SEEN[FIRST.number]}
    verdict = check(HISTORY, replicas(card(title=FIRST.value), gone), [], WORKLOADS)
    assert [line.split()[1] for line in verdict.silent] == [SECOND.value]


def test_whoever_was_told_maybe_may_be_there_or_not() -> None:
    history = [told(FIRST), told(SECOND, Outcome.MAYBE)]
    only_first = {FIRST.number: SEEN[FIRST.number]}
    for tables, entries in ((LATER, SEEN), (card(title=FIRST.value), only_first)):
        verdict = check(history, replicas(tables, entries), [], WORKLOADS)
        assert verdict.passed, verdict.faults


def test_what_failed_and_is_there_and_what_nobody_invoked_are_found() -> None:
    failed = check([told(FIRST), told(SECOND, Outcome.FAIL)], replicas(LATER, SEEN), [], WORKLOADS)
    assert any("which failed" in line for line in failed.wrong)
    unknown = check([told(FIRST)], replicas(LATER, SEEN), [], WORKLOADS)
    assert any("which nobody invoked" in line for line in unknown.wrong)


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        (card(title=FIRST.value), "not the later"),
        (card(title="77"), "nobody wrote"),
    ],
)
def test_a_value_that_should_not_have_won_is_found(tables: Tables, sentence: str) -> None:
    verdict = check(HISTORY, replicas(tables, UNSEEN), [RECORD], WORKLOADS)
    assert any(sentence in line for line in verdict.wrong)


def test_half_of_a_big_value_is_found() -> None:
    big = write(1, 1, field="body")
    whole = content(big)
    entries = {big.number: Entry(("",), 1)}
    assert check([told(big)], replicas(card(body=whole), entries), [], WORKLOADS).passed
    half = check([told(big)], replicas(card(body=whole[:3000]), entries), [], WORKLOADS)
    assert any("only a part" in line for line in half.wrong)


def test_one_byte_that_differs_in_one_replica_is_found() -> None:
    found = replicas(LATER, SEEN)
    texts = {"board_card": {1: found[2].texts["board_card"][1] + " "}}
    verdict = check(HISTORY, [*found[:2], replace(found[2], texts=texts)], [], WORKLOADS)
    assert len(verdict.differences) == 1
    assert "us-east" in verdict.differences[0]


def test_a_value_that_one_replica_lacks_is_lost_though_others_have_it() -> None:
    there, gone = replicas(card(title=FIRST.value), UNSEEN), replicas(LATER, UNSEEN)
    verdict = check(HISTORY, [*there[:2], gone[2]], [], WORKLOADS)
    assert len(verdict.silent) == 2


def test_missing_and_surplus_increments_are_found() -> None:
    adds = [Operation(CLIENT + n, EU, "counters", "add", 1) for n in range(1, 5)]
    entries = {each.number: Entry() for each in adds}
    history = [told(each) for each in adds]
    assert check(history, replicas(card(votes=4), entries), [], WORKLOADS).passed
    assert len(check(history, replicas(card(votes=2), entries), [], WORKLOADS).silent) == 2
    surplus = check(history, replicas(card(votes=5), entries), [], WORKLOADS)
    assert surplus.wrong == ["counters 1 is 5 after 4 increments"]


def test_a_taken_row_that_is_there_again_is_found() -> None:
    put = Operation(CLIENT + 1, EU, "slots", "put", 3)
    take = Operation(2 * CLIENT + 1, DE, "slots", "take", 3)
    entries = {put.number: Entry((), 1), take.number: Entry((put.value,))}
    gone: Tables = {"board_slot": {}}
    zombie: Tables = {"board_slot": {3: {"id": 3, "value": put.value}}}
    assert check([told(put), told(take)], replicas(gone, entries), [], WORKLOADS).passed
    verdict = check([told(put), told(take)], replicas(zombie, entries), [], WORKLOADS)
    assert any("there again" in line for line in verdict.wrong)


def test_a_mark_that_came_before_its_note_and_was_dropped_is_found() -> None:
    made = Operation(CLIENT + 1, EU, "chains", "make", CLIENT + 1)
    mark = Operation(2 * CLIENT + 1, DE, "chains", "mark", CLIENT + 1)
    row = {"id": made.key, "text": made.value, "mark": ""}
    tables: Tables = {"board_note": {made.key: row}}
    entries = {made.number: Entry((), 1), mark.number: Entry(("",), 2)}
    verdict = check([told(made), told(mark)], replicas(tables, entries), [], WORKLOADS)
    assert len(verdict.silent) == 1
    assert any("lacks its last mark" in line for line in verdict.wrong)


def test_a_name_that_the_later_claim_has_is_found() -> None:
    first, later = (Operation(n * CLIENT + 1, REGIONS[n - 1], "claims", "claim", 8) for n in (1, 2))
    entries = {first.number: Entry((), 1), later.number: Entry((), 2)}
    history = [told(first), told(later)]
    lost = [Discarded("board_claim", frozenset({first.value, later.value}))]

    def having(owner: Operation) -> list[Replica]:
        tables: Tables = {"board_claim": {owner.number: {"id": owner.number, "name": "name 8"}}}
        return replicas(tables, entries)

    assert check(history, having(first), lost, WORKLOADS).passed
    assert check(history, having(later), lost, WORKLOADS).wrong
    assert check(history, having(first), [], WORKLOADS).silent


def test_an_added_tag_that_a_removal_had_not_seen_must_stay() -> None:
    first, second = (
        Operation(n * CLIENT + 1, REGIONS[n - 1], "tags", "add", 1, 2, "with 2") for n in (1, 2)
    )
    remove = Operation(3 * CLIENT + 1, US, "tags", "remove", 1, 2, "with 2")
    history = [told(first), told(second), told(remove)]
    there: Tables = {"board_card_tags": {9: {"id": 9, "card_id": 1, "tag_id": 2}}}
    gone: Tables = {"board_card_tags": {}}

    def seen(*values: str) -> dict[int, Entry]:
        return {
            first.number: Entry((), 1),
            second.number: Entry((), 2),
            remove.number: Entry(values),
        }

    both, one = seen(first.value, second.value), seen(first.value)
    assert check(history, replicas(gone, both), [], WORKLOADS).passed
    assert check(history, replicas(there, one), [], WORKLOADS).passed
    assert len(check(history, replicas(gone, one), [], WORKLOADS).silent) == 1
    assert check(history, replicas(there, both), [], WORKLOADS).wrong


def test_money_that_is_gone_and_half_a_batch_are_found() -> None:
    transfer = Operation(CLIENT + 1, EU, "bank", "transfer", 11, 12)
    batch = Operation(CLIENT + 2, EU, "batches", "pack", CLIENT + 2, 50)
    entries = {transfer.number: Entry(), batch.number: Entry()}

    def left(taker: int, rows: int) -> list[Replica]:
        accounts = {11: {"id": 11, "balance": 999}, 12: {"id": 12, "balance": taker}}
        parcels = {n: {"id": n, "batch": batch.number} for n in range(rows)}
        return replicas({"board_account": accounts, "board_parcel": parcels}, entries)

    history = [told(transfer), told(batch)]
    assert check(history, left(1001, 50), [], WORKLOADS).passed
    poor = check(history, left(1000, 50), [], WORKLOADS)
    assert poor.wrong == ["bank: the accounts have -1 in all"]
    assert check(history, left(1001, 25), [], WORKLOADS).wrong


def test_a_stock_that_was_oversold_or_is_not_what_is_left_is_found() -> None:
    sales = [Operation(CLIENT + n, EU, "shelves", "sell", 1) for n in range(1, 27)]
    more = Operation(2 * CLIENT + 1, DE, "shelves", "deliver", 1)

    def found(done: list[Operation], left: int) -> Verdict:
        rows = {1: {"id": 1, "stock": left}}
        entries = {each.number: Entry() for each in done}
        there = replicas({"board_shelf": rows}, entries)
        return check([told(each) for each in done], there, [], WORKLOADS)

    assert found(sales[:25], 0).passed
    assert found([*sales, more], 2).passed
    assert not found([*sales, more], 3).passed
    oversold = found(sales, 0)
    assert oversold.wrong == ["shelves 1: 1 more were sold than there were"]


def test_a_reply_without_its_topic_and_a_deleted_one_that_is_there_are_found() -> None:
    opened = Operation(CLIENT + 1, EU, "families", "open", 1)
    reply = Operation(2 * CLIENT + 1, DE, "families", "reply", 1)
    close = Operation(3 * CLIENT + 1, US, "families", "close", 1)
    entries = {opened.number: Entry(), reply.number: Entry(), close.number: Entry((opened.value,))}
    history = [told(opened), told(reply), told(close)]
    tables: Tables = {
        "board_topic": {},
        "board_reply": {reply.number: {"id": reply.number, "topic_id": 1}},
    }
    orphan = check(history, replicas(tables, entries), [], WORKLOADS)
    assert orphan.wrong == [f"reply {reply.number} is there without its topic 1"]
    entries[close.number] = Entry((opened.value, reply.value))
    zombie = check(history, replicas(tables, entries), [], WORKLOADS)
    assert f"families 1: {reply.value} was deleted, and is there" in zombie.wrong


def test_torn_transactions_stalls_and_what_was_not_done_fail_a_run() -> None:
    for observed in (Observed(torn=["half"]), Observed(stalls=["none"]), Observed(undone=["no"])):
        assert not check(HISTORY, replicas(LATER, SEEN), [], WORKLOADS, observed).passed


def test_the_table_says_what_failed_and_which_control_did_not() -> None:
    good = check(HISTORY, replicas(LATER, SEEN), [], WORKLOADS)
    bad = check(HISTORY, replicas(LATER, UNSEEN), [], WORKLOADS)
    lines = [
        Line("fields", 7, good, 0.1),
        Line("rows", 7, bad, 0.1),
        Line("control", 7, bad, 0.1, must_fail=True),
        Line("lame control", 7, good, 0.1, must_fail=True),
    ]
    assert [line.good for line in lines] == [True, False, True, False]
    text = table(lines)
    assert "FAILED" in text
    assert "PASSED, and must not" in text
    assert f"operation {FIRST.value}" in text
