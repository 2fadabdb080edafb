"""The command line of `python -m infra.fleet`: what can be asked, and how."""

from __future__ import annotations

from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path
from typing import TypeAlias

Subparsers: TypeAlias = "_SubParsersAction[ArgumentParser]"


def parser() -> ArgumentParser:
    root = ArgumentParser(prog="python -m infra.fleet", description="The local fleet.")
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    _up(verbs)
    _verb(verbs, "status", "what runs, and what doesn't")
    _break(verbs)
    _heal(verbs)
    down = _verb(verbs, "down", "stop everything")
    down.add_argument("--purge", action="store_true", help="delete the fleet's data, too")
    logs = _verb(verbs, "logs", "the last lines of a process' log")
    logs.add_argument("process", nargs="?", help="such as eu-west:web; without it, all")
    logs.add_argument("--lines", type=int, default=20, metavar="N")
    restart = _verb(verbs, "restart", "stop and start one process")
    restart.add_argument("process", help="such as eu-west:web")
    return root


def _verb(verbs: Subparsers, name: str, text: str) -> ArgumentParser:
    return _common(verbs.add_parser(name, help=text, description=text))


def _common(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("--dir", type=Path, help="the fleet's state folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _up(verbs: Subparsers) -> None:
    up = _verb(verbs, "up", "start the fleet; does nothing if it runs")
    up.add_argument("--regions", type=int, metavar="N", help="how many (default: 3)")
    up.add_argument("--port-base", type=int, metavar="P", help="first port (default: 7100)")
    up.add_argument(
        "--etcd",
        action="append",
        metavar="URL",
        default=[],
        help="a member of the etcd cluster that grants leases (repeat it; default: PostgreSQL)",
    )
    up.add_argument(
        "--tenants",
        choices=("demo", "none"),
        default="none",
        help="demo: onboard one tenant for each tenancy mode",
    )


def _break(verbs: Subparsers) -> None:
    breaks = verbs.add_parser("break", help="make something fail")
    targets = breaks.add_subparsers(dest="target", required=True, metavar="TARGET")
    region = _common(targets.add_parser("region", help="a whole region"))
    region.add_argument("region")
    process = _common(targets.add_parser("process", help="one process, such as eu-west:web"))
    process.add_argument("process")
    for target in (region, process):
        target.add_argument("--how", choices=("kill", "freeze"), default="kill")
    link = _common(targets.add_parser("link", help="the link between two regions"))
    link.add_argument("a", metavar="A")
    link.add_argument("b", metavar="B")
    link.add_argument("--how", choices=("cut", "black-hole"), help="default: cut")
    link.add_argument("--latency", type=float, metavar="MS", help="delay instead of cutting")
    link.add_argument("--jitter", type=float, default=0.0, metavar="MS")
    link.add_argument("--bandwidth", type=float, default=0.0, metavar="KB/S")
    link.add_argument("--one-way", action="store_true", help="only what flows from A to B")
    _common(targets.add_parser("store", help="the way of all agents to etcd, that grants leases"))


def _heal(verbs: Subparsers) -> None:
    heal = _verb(verbs, "heal", "make everything, or one thing, whole again")
    heal.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help="all (default) | region R | process P | link A B | store",
    )
