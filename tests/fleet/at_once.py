"""Onboards a tenant and asks for it in every region at once, from within the same process.

`python -m tests.fleet.at_once SLUG --mode M …` prints what `tenant create` printed
and what each region's own door and the edge answered to the tenant's first read and first write:
one try each, all of them together, nothing between them and the command's return.
With `--without-the-wait` the command returns as soon as the tenant is registered: what the wait is
for shows in the answers.
"""

from __future__ import annotations

import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import django
import httpx
from django.core.management import call_command

REPOSITORY = Path(__file__).parents[2]
TICKETS = "/api/desk/tickets"
NO_WAIT = "--without-the-wait"


def main(arguments: list[str]) -> None:
    sys.path.insert(1, str(REPOSITORY / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    # Made before: it takes as long as news does to the other side of an ocean.
    client = httpx.Client(timeout=30, trust_env=False)
    if NO_WAIT in arguments:
        arguments.remove(NO_WAIT)
        with patch("tenants.lifecycle.provision.wait_until_usable"):
            tenant = onboard(arguments)
    else:
        tenant = onboard(arguments)
    json.dump({"tenant": tenant, "answers": answers(client, tenant)}, sys.stdout)


def onboard(words: list[str]) -> dict[str, Any]:
    printed = io.StringIO()
    call_command("tenant", "create", *words, "--json", stdout=printed)
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document


def answers(client: httpx.Client, tenant: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By region, or "edge": the status of the first read and of the first write, or what went
    wrong."""
    from regions.current import deployment

    headers = {"host": tenant["host"], "authorization": f"Bearer {tenant['api_token']}"}

    doors = {region: deployment().region(region).web_url for region in tenant["regions"]}
    doors["edge"] = deployment().edge_url

    def ask(door: str, method: str, **body: Any) -> Any:
        try:
            answer = client.request(method, door + TICKETS, headers=headers, **body)
        except httpx.HTTPError as error:
            return repr(error)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return f"{answer.status_code} {answer.text[:300]}"  # and why
        return answer.status_code

    with ThreadPoolExecutor(2 * len(doors)) as pool:
        asked = {
            name: {
                "read": pool.submit(ask, door, "GET"),
                "write": pool.submit(ask, door, "POST", json={"title": f"from {name}"}),
            }
            for name, door in doors.items()
        }
    return {
        name: {what: answer.result() for what, answer in both.items()}
        for name, both in asked.items()
    }


if __name__ == "__main__":
    main(sys.argv[1:])
