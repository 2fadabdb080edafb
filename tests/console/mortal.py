"""A console's worker that is killed in the midst of an operation: see `tests.tenants.mortal`."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.tenants.mortal import main


def _live(step: int, verb: str, arguments: dict[str, Any]) -> None:
    from console import tasks

    def die(*args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    tasks.empty = die
    getattr(tasks, verb)(**arguments)
    os._exit(0)


if __name__ == "__main__":
    main(_live)
