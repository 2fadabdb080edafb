"""Acceptors of one lease as values, for `lease_states.py`: what is on its way to them, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, NamedTuple

from regions.failover import proposing
from tests.regions.failover.simulated import Vote

TTL = 2
CELL = "c"


class Message(NamedTuple):
    """`kind`: prepare, accept or release."""

    kind: str
    sender: int
    ballot: int
    epoch: int = 0


Answer = proposing.Promise | bool | None


@dataclass(frozen=True, eq=False, slots=True)
class Seat:
    """An acceptor, what is on its way to it, and what each proposer has heard of it. `left`: ticks
    until its lease ends; `mute`: until it votes again after it was restored. Made by `seat_of`:
    what is equal is one object, so that comparing costs nothing."""

    promised: int
    holder: str | None
    epoch: int
    left: int
    mute: int
    sent: frozenset[Message]
    said: tuple[Answer, ...]
    serial: int


_serials = count()


@cache
def seat_of(
    promised: int,
    holder: str | None,
    epoch: int,
    left: int,
    mute: int,
    sent: frozenset[Message],
    said: tuple[Answer, ...],
) -> Seat:
    return Seat(promised, holder, epoch, left, mute, sent, said, next(_serials))


def new_seat(proposers: int) -> Seat:
    return seat_of(0, None, 0, 0, 0, frozenset(), (None,) * proposers)


@cache
def gets(seat: Seat, message: Message) -> Seat:
    return but(seat, sent=seat.sent | {message})


@cache
def forgotten(seat: Seat, who: int) -> Seat:
    return but(seat, said=put(seat.said, who, None))


@cache
def later(seat: Seat) -> Seat:
    return but(seat, left=max(0, seat.left - 1), mute=max(0, seat.mute - 1))


@cache
def arrived(seat: Seat, message: Message, awaited: bool, kind: type[Vote]) -> Seat:
    seat = but(seat, sent=seat.sent - {message})
    if seat.mute:
        return seat
    vote = kind(seat.promised, seat.holder, seat.epoch, seat.left)
    answer: Answer = None
    if message.kind == "prepare":
        answer = vote.prepare(CELL, message.ballot, 0)
    elif message.kind == "accept":
        answer = vote.accept(message.ballot, message.epoch, name_of(message.sender), TTL)
    else:
        vote.release(name_of(message.sender), message.epoch, None, 0)
    said = put(seat.said, message.sender, answer) if awaited else seat.said
    left = int(max(vote.expires, 0))
    return seat_of(vote.promised, vote.holder, vote.epoch, left, 0, seat.sent, said)


def but(seat: Seat, **fields: Any) -> Seat:
    names = ("promised", "holder", "epoch", "left", "mute", "sent", "said")
    return seat_of(*(fields.get(name, getattr(seat, name)) for name in names))


def name_of(who: int) -> str:
    return chr(ord("a") + who)


def put(all_: tuple[Any, ...], place: int, one: Any) -> tuple[Any, ...]:
    return (*all_[:place], one, *all_[place + 1 :])
