"""`cell migrate` in a process that is killed, by SIGKILL, before its n-th statement.

Counted from the moment that the first tenant is taken, in all its threads and all replicas.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

from tests.tenants.mortal import main


def _live(step: int, verb: str, arguments: dict[str, Any]) -> None:
    import psycopg
    from django.core.management import call_command

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
    with open(os.devnull, "w") as nowhere:
        call_command("cell", verb, *arguments["words"], "--json", stdout=nowhere, stderr=nowhere)
    os._exit(0)


if __name__ == "__main__":
    main(_live)
