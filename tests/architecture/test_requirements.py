"""Dependencies are pinned and each says what it is for."""

import re

from tests.architecture.repository import ROOT

PINNED = re.compile(r"^[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==[0-9][A-Za-z0-9.]*( *;.+)?$")
LINES = (ROOT / "requirements.txt").read_text().splitlines()
ENTRIES = [(number, line) for number, line in enumerate(LINES) if line and line[0] != "#"]


def test_there_are_dependencies():
    assert any(line.startswith("Django==") for _, line in ENTRIES)


def test_every_dependency_is_pinned():
    assert [line for _, line in ENTRIES if not PINNED.match(line)] == []


def test_every_dependency_has_a_comment_above_it():
    missing = [
        line for number, line in ENTRIES if number == 0 or not LINES[number - 1].startswith("# ")
    ]
    assert missing == []


def test_no_dependency_is_listed_twice():
    names = [re.split(r"[=\[]", line)[0].lower().replace("_", "-") for _, line in ENTRIES]
    assert sorted(names) == sorted(set(names))
