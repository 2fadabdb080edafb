"""`python -m infra.wan STATE`: serves the links of the deployment in the state folder.

Conditions are re-read from `links.json` about 20 times a second. A document that can't be read
leaves the last conditions in force.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from infra.wan.conditions import AGENTS, FILE, Condition, Link, identity, put_in_force, read
from infra.wan.proxy import Route, Wan

POLL_SECONDS = 0.05
BEFORE_OTHERS = -5  # where it is allowed: a network is not slow because machines are busy

logger = logging.getLogger("infra.wan")


def routes(state: Path) -> tuple[Route, ...]:
    """The links of `deployment.json`, each leading to its target's PostgreSQL, and the agents' to
    etcd's members."""
    document = json.loads((state / "deployment.json").read_text())
    servers = {entry["name"]: entry["postgres"] for entry in document["regions"]}
    between = [
        Route(
            link=(entry["from"], entry["to"]),
            listen=(entry["host"], entry["port"]),
            target=(servers[entry["to"]]["host"], servers[entry["to"]]["port"]),
        )
        for entry in document["links"]
    ]
    to_store = [
        Route(
            link=(AGENTS, entry["to"]),
            listen=(entry["host"], entry["port"]),
            target=(entry["at"]["host"], entry["at"]["port"]),
        )
        for entry in document.get("store_links", ())
    ]
    return (*between, *to_store)


async def serve(state: Path) -> None:
    """Serve until the process is told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    wan = Wan(routes(state))
    conditions: dict[Link, Condition] = {}
    seen = ""
    await wan.apply(read(state))
    logger.info("%d links", len(wan.routes))
    while not stop.is_set():
        if (now := identity(state)) != seen:
            seen = now
            try:
                conditions = read(state)
            except (OSError, ValueError, KeyError, TypeError) as invalid:
                logger.error("%s is not valid, nothing changed: %s", FILE, invalid)
            else:
                await wan.apply(conditions)
                put_in_force(state, now)
                logger.info("conditions: %s", conditions or "all healthy")
        try:
            await asyncio.wait_for(stop.wait(), POLL_SECONDS)
        except TimeoutError:
            continue
    wan.close()


def main() -> None:
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, BEFORE_OTHERS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
