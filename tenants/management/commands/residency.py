"""`manage.py residency check|audit|policies`: what a policy allows, and what breaks it."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime
from typing import Any

from django.conf import settings

from regions import inventory
from regions.cli import VerbCommand
from regions.deployment import CONTROL_CELL, CONTROL_DATABASE, Deployment
from regions.errors import DeploymentError
from regions.models import Cell
from regions.replication.transport import slot_name, subscription_name
from regions.residency import Destination, Operation, dataset, decide, denial, parse_policy
from regions.residency.audit import CellFacts, audit
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tenants.errors import TenantsError, UnknownTenant
from tenants.models import Tenant

AT_HELP = "the time of the question, as YYYY-MM-DD or with a time and a zone (default: now)"


class Command(VerbCommand):
    help = "Residency: what a tenant's policy allows, and what on the servers contradicts it."
    verbs = {
        "check": "Ask whether a tenant's policy allows an operation in a region. "
        "Exit status: 0 allowed, 1 denied (the document is printed either way).",
        "audit": "Compare databases, slots and subscriptions of all servers with all policies. "
        "Exit status: 0 no finding, 1 findings (the document is printed either way).",
        "policies": "List the tenants' policies and the regions that each may be placed in.",
    }
    platform_errors = (*VerbCommand.platform_errors, TenantsError)

    # check ------------------------------------------------------------------------------------

    def add_check(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("--region", required=True)
        parser.add_argument(
            "--operation", required=True, type=str.lower, choices=[o.value for o in Operation]
        )
        parser.add_argument("--at", type=_moment, default=None, help=AT_HELP)

    def do_check(
        self,
        tenant: str,
        region: str,
        operation: str,
        at: date | datetime | None,
        **_: Any,
    ) -> dict[str, Any]:
        record = Tenant.objects.filter(slug=tenant).first()
        if record is None:
            raise UnknownTenant(f"No tenant is called {tenant!r}: see `manage.py tenant list`.")
        place = Destination.of(_deployment().region(region))
        policy = parse_policy(record.residency)
        decision = decide(policy, Operation(operation), place, at=at or datetime.now(UTC))
        if not decision.allowed:
            self.refusal = denial(decision)
        return {
            "tenant": tenant,
            "policy": str(policy),
            "operation": operation,
            "region": region,
            **decision.as_document(),
        }

    def show_check(self, document: dict[str, Any]) -> None:
        if not document["allowed"]:
            return  # the refusal is the one line on standard error
        self.stdout.write(f"{document['verdict']} [{', '.join(document['rules'])}]")
        self.stdout.write(document["reason"])

    # audit ------------------------------------------------------------------------------------

    def add_audit(self, parser: ArgumentParser) -> None:
        parser.add_argument("--at", type=_moment, default=None, help=AT_HELP)

    def do_audit(self, at: date | datetime | None, **_: Any) -> dict[str, Any]:
        deployment = _deployment()
        moment = at or datetime.now(UTC)
        cells = _cells(deployment)
        clusters = [inventory.read_cluster(deployment, name) for name in deployment.regions]
        findings = audit(clusters, cells, at=moment)
        if findings:
            first = findings[0]
            self.refusal = (
                f"{len(findings)} findings, the first in {first.where}: [{first.rule}] {first.what}"
            )
        return {
            "findings": [
                {"rule": f.rule, "what": f.what, "where": f.where, "remedy": f.remedy}
                for f in findings
            ],
            "checked": {
                "regions": sum(cluster.error is None for cluster in clusters),
                "databases": sum(len(cluster.databases) for cluster in clusters),
                "channels": sum(len(cluster.channels) for cluster in clusters),
                "cells": len(cells),
                "tenants": sum(len(cell.policies) for cell in cells),
            },
            "at": moment.isoformat(),
            "data_version": dataset.current().version,
        }

    def show_audit(self, document: dict[str, Any]) -> None:
        checked = ", ".join(f"{count} {what}" for what, count in document["checked"].items())
        self.stdout.write(f"Checked {checked}: {len(document['findings'])} findings.")
        if document["findings"]:
            columns = ("rule", "where", "what", "remedy")
            self.table(columns, ([f[c] for c in columns] for f in document["findings"]))

    # policies ---------------------------------------------------------------------------------

    def do_policies(self, **_: Any) -> list[dict[str, Any]]:
        places = [Destination.of(site) for site in _deployment().regions.values()]
        now = datetime.now(UTC)
        return [
            {
                "tenant": tenant.slug,
                "policy": tenant.residency,
                "lawful_regions": [
                    place.region
                    for place in places
                    if decide(
                        parse_policy(tenant.residency), Operation.PLACE, place, at=now
                    ).allowed
                ],
            }
            for tenant in _tenants()
        ]

    def show_policies(self, document: list[dict[str, Any]]) -> None:
        rows = ([d["tenant"], d["policy"], ", ".join(d["lawful_regions"])] for d in document)
        self.table(("tenant", "policy", "lawful regions"), rows)


def _deployment() -> Deployment:
    deployment: Deployment | None = settings.MERIDIAN_DEPLOYMENT
    if deployment is None:
        raise DeploymentError("No deployment is found: start the fleet with `make up` first.")
    return deployment


def _tenants() -> list[Tenant]:
    """Every tenant that has, or may still have, data somewhere."""
    return list(Tenant.objects.exclude(state=Tenant.State.ERASED))


def _cells(deployment: Deployment) -> list[CellFacts]:
    by_cell: dict[str, list[Tenant]] = {}
    for tenant in _tenants():
        by_cell.setdefault(tenant.cell_id, []).append(tenant)
    registered = {cell.name: cell for cell in Cell.objects.prefetch_related("replicas")}
    specs = [
        CellSpec(
            name,
            TenancyMode(cell.mode),
            WritePolicy(cell.policy),
            tuple(cell.region_names),
        )
        for name, cell in registered.items()
        if name != CONTROL_CELL
    ]
    specs.append(
        CellSpec(
            CONTROL_CELL,
            TenancyMode.CONTROL,
            WritePolicy.ACTIVE_PASSIVE,
            tuple(deployment.regions),
        )
    )
    return [
        CellFacts(
            name=spec.name,
            database=CONTROL_DATABASE if spec.name == CONTROL_CELL else spec.database,
            regions=spec.regions,
            policies={t.slug: parse_policy(t.residency) for t in by_cell.get(spec.name, ())},
            channels={region: _channels(spec, region) for region in spec.regions},
        )
        for spec in specs
    ]


def _channels(spec: CellSpec, region: str) -> frozenset[str]:
    """The slots and subscriptions that the fabric makes in one region of a cell."""
    peers = [peer for peer in spec.regions if peer != region]
    return frozenset(
        [slot_name(spec, peer) for peer in peers] + [subscription_name(spec, p) for p in peers]
    )


def _moment(text: str) -> date | datetime:
    try:
        if len(text) == len("2026-11-23"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time: {AT_HELP}") from None
    if moment.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} has no time zone: write e.g. {text}+00:00")
    return moment
