"""Keeps the cores from sleeping while short statements are measured.

In a virtual machine a core that has gone to sleep takes longer to wake (50 µs and more) than such a
statement takes: what is measured then is how often each side lets it sleep. A process for each core
turns at the lowest priority there is (SCHED_IDLE): it gives way at once to everybody else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SPIN = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"


@contextmanager
def awake() -> Iterator[None]:
    """Within the block no core sleeps. Where there is no such priority (macOS), nothing is done."""
    if not hasattr(os, "SCHED_IDLE"):
        yield
        return
    cores = len(os.sched_getaffinity(0))
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(cores)]
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()
