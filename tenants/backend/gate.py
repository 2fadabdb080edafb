"""Which statements the application may send, and which leave something in the session: pure.

All of a cell's tenants share the application's role, so SQL that was injected into one tenant's
request can do what that role can. Rows are guarded by the database. What PostgreSQL lets every
role do and no privilege withholds (change its own password or defaults, lock a table that it
writes to, ask the planner how many rows it expects, hold up the one queue of notifications that
a cluster has) is refused here, before it is sent. And a session in which a statement may have left
a setting, a cursor, a lock or an open transaction serves no other tenant.

Read as PostgreSQL's scanner reads (`standard_conforming_strings` on, in UTF-8: the session sees to
that), so that no quoting hides a statement. Without the right to use a procedural language, a
command is only ever a statement of its own: nothing that is not at a statement's beginning needs
to be looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum


class Verdict(IntEnum):
    """What a message does to its session; the worst of its statements counts."""

    PLAIN = 0  # rows only: whatever it changes ends with its transaction
    LEAVES = 1  # may leave something behind in the session
    REFUSED = 2


_ROWS = b"""
    select insert update delete merge with values table copy fetch move close show
    savepoint release
"""
_SESSION = b"""
    set reset discard prepare execute deallocate declare unlisten begin start commit end
    rollback abort call
"""
# `SET LOCAL …` and its like end with the transaction; `ROLLBACK TO` stays within it.
_WITHIN_TRANSACTION = {
    b"set": {b"local", b"transaction", b"constraints"},
    b"rollback": {b"to"},
}
_VERDICTS = {
    **dict.fromkeys(_ROWS.split(), Verdict.PLAIN),
    **dict.fromkeys(_SESSION.split(), Verdict.LEAVES),
}
# Harmless where a tenant has the database to itself; elsewhere they reach, or tell of, the rows
# of others: a lock keeps them out, an estimate counts them.
_OWN_DATABASE_ONLY = {b"lock", b"explain"}

# Of the whole server, and there until somebody ends it: its locks survive the session.
_OUTLIVES_SESSION = {
    (b"prepare", b"transaction"),
    (b"commit", b"prepared"),
    (b"rollback", b"prepared"),
}

_ORDINARY = re.compile(
    rb"\s*(?:select|insert|update|delete|with|savepoint|release savepoint|rollback to savepoint)\s",
    re.IGNORECASE,
)

# Between a string's parts: white space with a line's end in it, and comments.
_CONTINUED = rb"(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*"
_DATA = (
    rb"[eE]'(?:[^'\\]|\\.|'')*'(?:%(again)s'(?:[^'\\]|\\.|'')*')*"
    rb"|'(?:[^']|'')*'"
    rb'|"(?:[^"]|"")*"'
    rb"|--[^\n\r]*"
    rb"|\$(?P<tag>(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?)\$.*?\$(?P=tag)\$"
) % {b"again": _CONTINUED}
_WORD = rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*"
_TOKEN = re.compile(
    rb"(?P<end>;)|(?P<comment>/\*)|" + _DATA + rb"|(?P<word>" + _WORD + rb")|\$?[0-9]+"
    rb"|[ \t\n\r\f\v]+|(?P<other>.)",
    re.DOTALL,
)
# As far as the next end of a statement, or comment, without a look at what is between.
_REST = re.compile(rb"(?:" + _DATA + rb"|" + _WORD + rb"|\$?[0-9]+|(?!/\*)[^;])*+", re.DOTALL)
_COMMENT_MARK = re.compile(rb"/\*|\*/")


def judge(message: bytes, *, own_database: bool = False) -> Verdict:
    """`own_database`: whether nobody else's rows are in the database."""
    if b";" not in message and _ORDINARY.match(message):
        return Verdict.PLAIN
    worst = Verdict.PLAIN
    for words in _statements(message):
        worst = max(worst, _judge_one(words, own_database=own_database))
    return worst


def _judge_one(words: list[bytes], *, own_database: bool) -> Verdict:
    if not words:
        return Verdict.PLAIN
    first = words[0]
    if len(words) > 1 and words[1] in _WITHIN_TRANSACTION.get(first, ()):
        return Verdict.PLAIN
    if tuple(words[:2]) in _OUTLIVES_SESSION:
        return Verdict.REFUSED
    if first in _OWN_DATABASE_ONLY:
        return Verdict.PLAIN if own_database else Verdict.REFUSED
    return _VERDICTS.get(first, Verdict.REFUSED)


def _statements(message: bytes) -> Iterator[list[bytes]]:
    """Each statement's first two words, in lower case; [] for an empty one."""
    words: list[bytes] = []
    position = 0
    # `other` takes whatever nothing else does: there is a token until the end.
    while token := _TOKEN.match(message, position):
        position = token.end()
        if token["comment"]:
            position = _after_comment(message, position)
        elif token["end"]:
            yield words
            words = []
        elif token["word"]:
            words.append(token["word"].lower())
            if len(words) >= 2:
                position = _REST.match(message, position).end()  # type: ignore[union-attr]
        elif token["other"] and not words and token["other"] != b"(":
            words.append(token["other"])  # no statement begins so: the server will say so
    yield words


def _after_comment(message: bytes, position: int) -> int:
    """Comments nest."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(message, position):
        depth += 1 if mark[0] == b"/*" else -1
        if not depth:
            return mark.end()
    return len(message)
