"""`python -m infra.envoy STATE ADMIN_PORT`: the router, which keeps the edge's files up to date.

A change of a region's map is live at the edge in well under a second. Maps that contradict
themselves leave the last good files in force.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from infra.envoy.files import EdgeFiles
from regions.deployment import load

POLL_SECONDS = 0.05

logger = logging.getLogger("infra.envoy")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    state = Path(sys.argv[1])
    deployment = load(state / "deployment.json")
    files = EdgeFiles(state / "envoy", deployment, admin_port=int(sys.argv[2]))
    files.write_all()
    logger.info("following the maps of %s", ", ".join(deployment.regions))
    while not stop.wait(POLL_SECONDS):
        try:
            if files.follow():
                logger.info("the map has changed")
        except (OSError, ValueError, KeyError, TypeError) as invalid:
            logger.error("nothing changed at the edge: %r", invalid)


if __name__ == "__main__":
    main()
