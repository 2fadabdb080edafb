"""`manage.py tenant VERB`: onboard, look at, move, suspend, erase; run a command for a tenant.

A verb imports what only it needs: looking at a tenant waits for nothing that changes one.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.management.base import CommandError

from regions.topology import WritePolicy
from tenants.databases import control_writer_alias
from tenants.documents import move_plan_document, tenant_document
from tenants.errors import TenantsError
from tenants.management.actor import actor
from tenants.management.conflicts import ConflictVerbs
from tenants.management.exec import ExecVerb
from tenants.management.limits import LimitVerbs
from tenants.management.policy import MODES
from tenants.models import Plan, Tenant
from tenants.seams import find_tenant


class Command(ExecVerb, LimitVerbs, ConflictVerbs):
    help = "Tenants: onboard, look at, suspend, resume, erase"
    platform_errors = (TenantsError, *LimitVerbs.platform_errors)
    verbs: ClassVar[Mapping[str, str]] = {
        "create": "onboard a tenant; it is usable in each of its regions when this ends",
        "list": "all tenants that are not erased",
        "show": "one tenant",
        "token": "issue an API token",
        "exec": "run a management command for a tenant (SLUG) or for many (--all)",
        "limits": "what it may use at most; with --plan or --set: change it",
        "usage": "what it used, by day and region",
        "conflicts": "what merges have discarded of its data, from each region's ledger",
        "restore": "write a discarded value again",
        "move": "take it to another cell while it is in use",
        "suspend": "close its doors, keep its data",
        "resume": "open them again",
        "erase": "delete its data in every replica, for good",
    }

    def add_create(self, parser: ArgumentParser) -> None:
        _slug(parser)
        parser.add_argument("--mode", required=True, choices=MODES)
        parser.add_argument("--cell", help="an existing cell; without it a lawful one is found")
        parser.add_argument("--residency", metavar="POLICY", help="EU, DE, EU:ADEQUATE, US …")
        parser.add_argument("--policy", choices=[policy.value for policy in WritePolicy])
        parser.add_argument("--regions", help="only these regions, comma-separated")
        parser.add_argument("--plan", default=Plan.DEFAULT, help="its limits (default: none)")
        parser.add_argument(
            "--idempotency-key",
            metavar="KEY",
            help="repeating the command with the same key gives the same tenant",
        )

    def do_create(self, slug: str, **options: Any) -> dict[str, Any]:
        from tenants import lifecycle, tokens

        tenant = lifecycle.provision(
            slug,
            mode=options["mode"],
            cell=options["cell"],
            residency=options["residency"],
            policy=options["policy"],
            regions=options["regions"].split(",") if options["regions"] else None,
            plan=options["plan"],
            idempotency_key=options["idempotency_key"],
            actor=actor(),
            progress=self._step,
        )
        return {**tenant_document(tenant), "api_token": tokens.issue(tenant)}

    def do_list(self, **options: Any) -> list[dict[str, Any]]:
        tenants = Tenant.objects.select_related("cell").prefetch_related("domains")
        present = tenants.exclude(state=Tenant.State.ERASED)
        return [tenant_document(tenant) for tenant in present]

    def show_list(self, document: list[dict[str, Any]]) -> None:
        columns = ("slug", "mode", "cell", "regions", "writer", "residency", "state", "host")
        self.table(
            columns,
            (
                [", ".join(entry[name]) if name == "regions" else entry[name] for name in columns]
                for entry in document
            ),
        )

    def add_show(self, parser: ArgumentParser) -> None:
        _slug(parser)

    def do_show(self, slug: str, **options: Any) -> dict[str, Any]:
        return tenant_document(find_tenant(slug))

    def add_token(self, parser: ArgumentParser) -> None:
        _slug(parser)
        parser.add_argument(
            "--revoke-older", action="store_true", help="end all tokens given out before"
        )

    def do_token(self, slug: str, revoke_older: bool, **options: Any) -> dict[str, Any]:
        from tenants import lifecycle

        token = lifecycle.issue_token(slug, actor=actor(), revoke_older=revoke_older)
        return {**tenant_document(find_tenant(slug)), "api_token": token}

    def add_move(self, parser: ArgumentParser) -> None:
        _slug(parser)
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--cell", help="an existing cell")
        target.add_argument(
            "--mode", choices=MODES, help="a lawful cell of this mode, or a new one"
        )
        parser.add_argument("--regions", help="with --mode: these regions, comma-separated")
        parser.add_argument("--policy", choices=[policy.value for policy in WritePolicy])
        parser.add_argument(
            "--residency", metavar="POLICY", help="its policy from then on; it must allow the place"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def do_move(self, slug: str, dry_run: bool, **options: Any) -> dict[str, Any]:
        from tenants import lifecycle

        wanted = {
            **{name: options[name] for name in ("cell", "mode", "policy", "residency")},
            "regions": options["regions"].split(",") if options["regions"] else None,
        }
        if dry_run:
            return move_plan_document(find_tenant(slug), lifecycle.preview_move(slug, **wanted))
        report = lifecycle.move(slug, **wanted, actor=actor(), progress=self._step)
        return {
            **tenant_document(find_tenant(slug, using=control_writer_alias())),
            "from": report.source,
            "to": report.target,
            "rows": report.rows,
            "pause_ms": report.pause_ms,
        }

    def add_suspend(self, parser: ArgumentParser) -> None:
        _slug(parser)

    def do_suspend(self, slug: str, **options: Any) -> dict[str, Any]:
        from tenants import lifecycle

        return tenant_document(lifecycle.suspend(slug, actor=actor()))

    def add_resume(self, parser: ArgumentParser) -> None:
        _slug(parser)

    def do_resume(self, slug: str, **options: Any) -> dict[str, Any]:
        from tenants import lifecycle

        return tenant_document(lifecycle.resume(slug, actor=actor()))

    def add_erase(self, parser: ArgumentParser) -> None:
        _slug(parser)
        parser.add_argument("--yes", action="store_true", help="really: there is no way back")

    def do_erase(self, slug: str, yes: bool, **options: Any) -> dict[str, Any]:
        from tenants import lifecycle

        tenant = find_tenant(slug)
        if not yes:
            raise CommandError(
                f"This deletes all data of {slug!r} in {', '.join(tenant.cell.region_names)}. "
                "Repeat it with --yes.",
                returncode=2,
            )
        erased = lifecycle.erase(slug, actor=actor(), progress=self._step)
        return tenant_document(find_tenant(erased.slug))

    def _step(self, step: str, percent: int) -> None:
        self.progress(f"{percent:3d} % {step}")


def _slug(parser: ArgumentParser) -> None:
    parser.add_argument("slug", metavar="SLUG")
