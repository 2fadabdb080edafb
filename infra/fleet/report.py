"""What people see: the table of what runs where, and what to try next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.fleet.plan import Plan

FLEET = ".venv/bin/python -m infra.fleet"
MANAGE = ".venv/bin/python manage.py"


def show_status(console: Console, now: Mapping[str, Any]) -> None:
    """Regions, shared processes, and the links that aren't as usual."""
    regions = _table("Region", "Law", "", "Web", "PostgreSQL", "Valkey")
    for region in now["regions"]:
        address = region["postgres"].rpartition("@")[2].partition("/")[0]
        regions.add_row(
            region["name"],
            f"{region['country']} ({region['jurisdiction']})",
            "[green]up[/green]" if region["up"] else "[red]down[/red]",
            region["web"],
            address,
            region["valkey"].removeprefix("redis://").partition("/")[0],
        )
    console.print(regions)
    for region in now["regions"]:
        if region["reason"]:
            console.print(f"[red]{region['name']}[/red]: {region['reason']}", soft_wrap=True)
    for name, state in now["shared"].items():
        if state != "running":
            console.print(f"[red]{name}[/red] is {state}")
    for link in now["links"]:
        if link["state"] != "up":
            console.print(
                f"[yellow]{link['from']} → {link['to']}[/yellow]: {link['state']}"
                f" ({link['latency_ms']:.0f} ms)"
            )
    console.print(f"Edge [bold]{now['edge']}[/bold]  Console [bold]{now['console']}[/bold]")


def show_tenants(console: Console, tenants: Iterable[Mapping[str, Any]]) -> None:
    """The demo tenants and where they live."""
    table = _table("Tenant", "Mode", "Cell", "Writer", "Regions", "Host")
    for tenant in tenants:
        table.add_row(
            tenant["slug"],
            tenant["mode"],
            tenant["cell"],
            tenant["writer"],
            ", ".join(tenant["regions"]),
            tenant["host"],
        )
    if table.row_count:
        console.print()
        console.print(table)


def show_next(
    console: Console,
    plan: Plan,
    edge: str,
    password: str,
    tenants: Iterable[Mapping[str, Any]],
) -> None:
    """Things to try, ready to copy."""
    console.print(f"\nConsole login: [bold]operator[/bold] / [bold]{password}[/bold]")
    lines: list[str] = []
    tenant = next(iter(tenants), None)
    if tenant is not None:
        curl = f"curl -s -H 'Host: {tenant['host']}' -H \"Authorization: Bearer $TOKEN\""
        address = f"{edge}/api/desk/tickets"
        body = '{"title": "Hello", "body": "From the edge"}'
        peers = [name for name in tenant["regions"] if name != tenant["writer"]]
        lines += [
            f"TOKEN={tenant['api_token']}",
            "# write through the edge, then read it back; X-Region names who answered",
            f"{curl} -i -H 'Content-Type: application/json' -d '{body}' {address}",
            f"{curl} {address}",
        ]
        if peers:
            port = plan.region(peers[0]).web_port
            lines += [
                f"# the same rows in {peers[0]}, asked directly",
                f"{curl} {address.replace(edge, f'http://127.0.0.1:{port}')}",
            ]
    first = plan.regions[0].name
    lines += [
        "# lose a region, see the writers move, get it back",
        f"{FLEET} break region {first}",
        f"{MANAGE} region list",
        f"{FLEET} heal",
    ]
    if len(plan.regions) > 1:
        lines += [
            "# a slow link, and a planned move of the writers",
            f"{FLEET} break link {first} {plan.regions[1].name} --latency 80",
            f"{MANAGE} region failover {first}",
        ]
    if tenant is not None and any(region.jurisdiction == "US" for region in plan.regions):
        lines += [
            "# what the law says",
            f"{MANAGE} residency check {tenant['slug']} --region us-east --operation place",
        ]
    console.print("\nTry next:")
    console.print("\n".join(f"  {line}" for line in lines), soft_wrap=True, markup=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("Tenant", "Mode", "Host"))
    return table
