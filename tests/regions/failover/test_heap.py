"""What an agent does again and again does not have its process look for garbage each time."""

from __future__ import annotations

import subprocess
import sys

WORK = """
import gc
from regions.failover.heap import seldom_collected

class Node:
    pass

def looks():
    return sum(generation["collections"] for generation in gc.get_stats())

{before}
seen = looks()
for _ in range(20):
    objects = [Node() for _ in range(10_000)]
    for one in objects:
        one.itself = {cycles}
print(looks() - seen)
"""


def looks(before: str, *, cycles: bool = False) -> int:
    code = WORK.format(before=before, cycles="one" if cycles else "None")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_objects_that_go_by_themselves_are_not_looked_through() -> None:
    assert looks("") > 0
    assert looks("seldom_collected()") == 0


def test_cycles_are_found_all_the_same() -> None:
    assert looks("seldom_collected()", cycles=True) > 0
