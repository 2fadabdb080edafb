"""`manage.py cell VERB`: make cells, look at their replicas, compare and migrate them.

A verb imports what only it needs: together that takes half as long as a run of `migrate` that finds
nothing to do.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, ClassVar

from regions.current import deployment
from regions.models import Cell
from tenants.documents import cell_document
from tenants.errors import InvalidRequest, ProvisioningFailed, TenantsError
from tenants.management.actor import actor
from tenants.management.budget import BudgetVerb
from tenants.management.cell_regions import RegionVerbs
from tenants.management.migrate import MigrateVerb
from tenants.management.policy import MODES, POLICIES, PolicyVerb, add_timetable
from tenants.management.verify import VerifyVerb
from tenants.seams import find_cell, spec_for


class Command(BudgetVerb, MigrateVerb, PolicyVerb, RegionVerbs, VerifyVerb):
    help = "Cells: make, look at, compare their replicas, migrate their tenants"
    platform_errors = (TenantsError, *MigrateVerb.platform_errors)
    verbs: ClassVar[Mapping[str, str]] = {
        "create": "make a cell: a database in each of its regions",
        "list": "all cells",
        "show": "one cell with its replicas as they are now",
        "policy": "another write policy or timetable, while the cell is in use",
        "budget": "how much log regions keep for one that is behind, and what happens beyond it",
        "add-region": "a replica in one more region, while the cell is in use",
        "remove-region": "one replica less, when the others have all that is in it, or it is lost",
        "verify": "compare the replicas' rows, and repair what differs",
        "secure": "put in force again what keeps its tenants apart; after an upgrade",
        "pool": "spares, which make onboarding quick: show, fill or drain their pools",
        "migrate": "bring tenants to the migrations of this code, in every replica",
    }

    def add_create(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--mode", required=True, choices=MODES)
        parser.add_argument("--regions", required=True, help="comma-separated, its home first")
        parser.add_argument("--policy", required=True, choices=POLICIES)
        add_timetable(parser)

    def do_create(
        self,
        name: str,
        mode: str,
        regions: str,
        policy: str,
        timetable: str | None,
        **options: Any,
    ) -> dict[str, Any]:
        from tenants import lifecycle

        cell = lifecycle.create_cell(
            name,
            mode=mode,
            regions=[region.strip() for region in regions.split(",") if region.strip()],
            policy=policy,
            timetable=timetable,
            actor=actor(),
            progress=self._step,
        )
        return cell_document(find_cell(cell.name))

    def do_list(self, **options: Any) -> list[dict[str, Any]]:
        return [cell_document(cell) for cell in Cell.objects.prefetch_related("replicas")]

    def show_list(self, document: list[dict[str, Any]]) -> None:
        columns = ("name", "mode", "policy", "regions", "writer", "state")
        self.table(
            columns,
            (
                [", ".join(entry[name]) if name == "regions" else entry[name] for name in columns]
                for entry in document
            ),
        )

    def add_show(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")

    def do_show(self, name: str, **options: Any) -> dict[str, Any]:
        from regions.replication import status
        from tenants.spares import spares_in

        document = status.cell_status(deployment(), spec_for(find_cell(name)))
        return {**document, "spares": spares_in(name)}

    def add_secure(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("name", metavar="NAME", nargs="?")
        which.add_argument("--all", action="store_true", dest="every", help="every cell")

    def do_secure(
        self, name: str | None, every: bool, **options: Any
    ) -> dict[str, Any] | list[dict[str, Any]]:
        from tenants.isolation.modes import isolation_of

        tenant_cells = Cell.objects.exclude(mode=Cell.Mode.CONTROL)
        made = tenant_cells.exclude(state=Cell.State.PROVISIONING)
        names = made.values_list("name", flat=True) if every else [name or ""]
        specs = [spec_for(find_cell(one)) for one in names]
        documents = []
        for spec in specs:
            self.progress(f"cell {spec.name}")
            isolation_of(spec).secure(self._step)
            documents.append({"name": spec.name, "regions": list(spec.regions), "secured": True})
        return documents if every else documents[0]

    def add_pool(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", nargs="?", default="show", choices=("show", "fill", "drain"))
        parser.add_argument("--pool", metavar="KEY", help="only this one, as `show` calls it")
        parser.add_argument(
            "--to", type=int, metavar="N", help="fill: so many, not what the settings say"
        )

    def do_pool(
        self, action: str, pool: str | None, to: int | None, **options: Any
    ) -> list[dict[str, Any]]:
        from tenants import lifecycle
        from tenants.spares import pool_documents

        known = [document["pool"] for document in pool_documents()]
        if pool is not None and pool not in known:
            raise InvalidRequest(f"No pool is called {pool!r}. Pools: {', '.join(known)}.")
        tended: list[lifecycle.Tended] = []
        if action == "fill":
            tended = lifecycle.fill_pools(key=pool, to=to, actor=actor(), progress=self._step)
        elif action == "drain":
            tended = lifecycle.drain_pools(key=pool, actor=actor(), progress=self._step)
        problems = [f"{one.pool}: {one.problem}" for one in tended if one.problem]
        if problems:
            raise ProvisioningFailed(" · ".join(problems))
        return [
            document for document in pool_documents() if pool is None or document["pool"] == pool
        ]

    def show_pool(self, document: list[dict[str, Any]]) -> None:
        columns = ("pool", "wanted", "ready", "making", "broken", "waiting", "outdated")
        self.table(columns, ([entry[name] for name in columns] for entry in document))
