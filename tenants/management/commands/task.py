"""`manage.py task VERB`: what is to be done for tenants, and in which region."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, ClassVar

from regions.cli import VerbCommand
from tenants import audit
from tenants.celery import open_tasks
from tenants.databases import control_writer_alias
from tenants.errors import TenantsError
from tenants.management.actor import actor

MOST = 1000


class Command(VerbCommand):
    help = "Tasks of tenants that are to be done"
    platform_errors = (TenantsError, *VerbCommand.platform_errors)
    verbs: ClassVar[Mapping[str, str]] = {
        "list": "tasks that wait, run or are parked, the oldest first",
        "again": "tell a broker of a task again, also of one that was parked",
        "drop": "a task is not to be done",
        "take-over": "in a cell that every region writes: one does what a lost one had not done",
    }

    def add_list(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cell", help="of this cell")
        parser.add_argument("--tenant", metavar="SLUG", help="of this tenant")
        parser.add_argument("--state", choices=open_tasks.STATES, help="in this state")

    def do_list(
        self, cell: str | None, tenant: str | None, state: str | None, **options: Any
    ) -> list[dict[str, Any]]:
        found = open_tasks.listed(cell=cell, tenant=tenant, most=MOST)
        return [one for one in found if state in (None, one["state"])]

    def show_list(self, document: list[dict[str, Any]]) -> None:
        columns = ("tenant", "task", "id", "state", "region", "sent_at", "claims", "lost")
        self.table(columns, ([one[column] for column in columns] for one in document))

    def add_again(self, parser: ArgumentParser) -> None:
        _one(parser)

    def do_again(self, tenant: str, id: str, **options: Any) -> dict[str, Any]:
        open_tasks.again(tenant, id)
        return _recorded("task_again", tenant, id)

    def add_drop(self, parser: ArgumentParser) -> None:
        _one(parser)

    def do_drop(self, tenant: str, id: str, **options: Any) -> dict[str, Any]:
        open_tasks.drop(tenant, id)
        return _recorded("task_drop", tenant, id)

    def add_take_over(self, parser: ArgumentParser) -> None:
        parser.add_argument("cell", metavar="CELL")
        parser.add_argument("--from", dest="lost", required=True, metavar="REGION")
        parser.add_argument("--by", required=True, metavar="REGION")

    def do_take_over(self, cell: str, lost: str, by: str, **options: Any) -> dict[str, Any]:
        document = {"cell": cell, "from": lost, "by": by}
        taken = open_tasks.take_over(cell, lost=lost, by=by)
        audit.record(
            "tasks_taken_over", cell, actor=actor(), using=control_writer_alias(), lost=lost, by=by
        )
        return {**document, "tasks": taken}


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("tenant", metavar="SLUG")
    parser.add_argument("id", metavar="ID")


def _recorded(verb: str, tenant: str, id_: str) -> dict[str, Any]:
    audit.record(verb, tenant, actor=actor(), using=control_writer_alias(), task=id_)
    return {"tenant": tenant, "id": id_}
