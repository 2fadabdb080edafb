"""How an agent's process looks for garbage: seldom.

Guarantees that what is there once the agent stands is not gone through again, and that the objects
of a round of renewals, which go by themselves within milliseconds, do not have it look for cycles
among all that lives: with a thousand leases that took a fifth of the agent's processor time, and
more where others' work leaves little of the caches.
"""

from __future__ import annotations

import gc

YOUNG = 50_000  # objects; a thousand renewals have some ten thousand alive at a time


def seldom_collected() -> None:
    """Call it once, when what stays has been made. Cycles are still found, some megabytes later."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
