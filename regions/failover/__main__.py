"""`python -m regions.failover --region R --deployment FILE`: one region's agent. No Django."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from regions import deployment as deployments
from regions.errors import RegionsError
from regions.failover.agent import Agent
from regions.failover.heap import seldom_collected

BEFORE_OTHERS = -5  # where it is allowed: a lease that is lost costs more than a page that is late


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m regions.failover", description=__doc__)
    parser.add_argument("--region", required=True, help="the region that this agent is of")
    parser.add_argument("--deployment", required=True, type=Path, help="path of deployment.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each look at a web
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, BEFORE_OTHERS)
    try:
        password = os.environ.get(deployments.ETCD_PASSWORD, "")
        deployment = deployments.load(arguments.deployment, etcd_password=password)
        agent = Agent(deployment, arguments.region)
    except RegionsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    seldom_collected()
    asyncio.run(_until_told_to_stop(agent))
    return 0


async def _until_told_to_stop(agent: Agent) -> None:
    task = asyncio.ensure_future(agent.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logging.getLogger("meridian.agent").info("Stopped.")


if __name__ == "__main__":
    sys.exit(main())
