"""`cell migrate` in a process that is killed, by SIGKILL, before its n-th statement.

Counted from the moment that the first tenant is taken, in all its threads and all replicas.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import Any

from tests.tenants.mortal import main


def _live(step: int, verb: str, arguments: dict[str, Any]) -> None:
    import psycopg
    from django.core.management import CommandError, call_command

    from tenants.rollout.carry_out import Carrier

    execute, carry_out = psycopg.Cursor.execute, Carrier.carry_out
    count = itertools.count(1)
    begun = False

    def counted(cursor: Any, *args: Any, **options: Any) -> Any:
        if begun and next(count) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(cursor, *args, **options)

    def taken(carrier: Any, work: Any) -> None:
        nonlocal begun
        begun = True
        carry_out(carrier, work)

    psycopg.Cursor.execute = counted  # type: ignore[method-assign]
    Carrier.carry_out = taken  # type: ignore[method-assign]
    deadline = time.monotonic() + 240
    with open(os.devnull, "w") as nowhere:
        streams = {"stdout": nowhere, "stderr": nowhere}
        while True:
            try:
                call_command("cell", verb, *arguments["words"], "--json", **streams)
                os._exit(0)
            except CommandError as refused:
                # The server lets a killed process' locks go when it notices.
                if "by another process" not in str(refused) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


if __name__ == "__main__":
    main(_live)
