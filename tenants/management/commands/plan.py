"""`manage.py plan VERB`: limits under a name, for tenants that are sold the same."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import Count

from regions.cli import VerbCommand
from tenants.errors import TenantsError
from tenants.limits.plans import delete_plan, find_plan, save_plan
from tenants.limits.report import plan_document
from tenants.limits.values import NAMES
from tenants.management.actor import actor
from tenants.management.limits import add_changes, parse_changes
from tenants.models import Plan


class Command(VerbCommand):
    help = "Plans: what tenants may use at most"
    platform_errors = (TenantsError, *VerbCommand.platform_errors)
    verbs: ClassVar[Mapping[str, str]] = {
        "list": "all plans and how many tenants have them",
        "show": "one plan",
        "set": "make a plan, or change its limits, for all tenants that have it",
        "delete": "remove a plan that no tenant has",
    }

    def do_list(self, **options: Any) -> list[dict[str, Any]]:
        plans = Plan.objects.annotate(count=Count("tenants"))
        return [{**plan_document(plan), "tenants": plan.count} for plan in plans]

    def show_list(self, document: list[dict[str, Any]]) -> None:
        self.table(
            ("plan", "tenants", *NAMES),
            (
                (entry["name"], entry["tenants"], *(entry["limits"][name] for name in NAMES))
                for entry in document
            ),
        )

    def add_show(self, parser: ArgumentParser) -> None:
        _name(parser)

    def do_show(self, name: str, **options: Any) -> dict[str, Any]:
        return plan_document(find_plan(name))

    def add_set(self, parser: ArgumentParser) -> None:
        _name(parser)
        add_changes(parser)

    def do_set(self, name: str, changes: Sequence[str], **options: Any) -> dict[str, Any]:
        return plan_document(save_plan(name, parse_changes(changes), actor=actor()))

    def add_delete(self, parser: ArgumentParser) -> None:
        _name(parser)

    def do_delete(self, name: str, **options: Any) -> dict[str, Any]:
        return plan_document(delete_plan(name, actor=actor()))


def _name(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="PLAN")
