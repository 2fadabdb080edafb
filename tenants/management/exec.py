"""The verb of `manage.py tenant` that runs a management command for one tenant or for many."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError

from regions.cli import VerbCommand
from tenants.context import tenant_scope
from tenants.errors import InvalidRequest
from tenants.management.many import Outcome, run_for_each
from tenants.models import Tenant
from tenants.seams import find_tenant, record_for

USAGE = "tenant exec SLUG -- COMMAND … or tenant exec --all [--mode M] [--cell C] -- COMMAND …"
DEFAULT_PARALLEL = 4


class ExecVerb(VerbCommand):
    """`exec`. With `--all` each tenant has a process of its own: its failure is nobody else's."""

    _failures = ""

    def add_exec(self, parser: ArgumentParser) -> None:
        parser.add_argument("words", nargs="*", metavar="SLUG -- COMMAND …")
        parser.add_argument("--all", action="store_true", help="for all tenants, no SLUG")
        parser.add_argument("--mode", help="with --all: only in cells of this mode")
        parser.add_argument("--cell", help="with --all: only in this cell")
        parser.add_argument(
            "--state", default="active", help="with --all: only in this state (default: active)"
        )
        parser.add_argument(
            "--parallel", type=int, default=DEFAULT_PARALLEL, metavar="N",
            help=f"with --all: so many at a time (default: {DEFAULT_PARALLEL})",
        )  # fmt: skip

    def do_exec(self, words: Sequence[str], **options: Any) -> dict[str, Any]:
        command = list(words) if options.pop("all") else list(words[1:])
        if not command:
            raise InvalidRequest(f"Say which command: {USAGE}.")
        if len(command) == len(words):
            return self._for_many(command, **options)
        record = record_for(find_tenant(words[0]))
        with tenant_scope(record):
            # Standard output is the document's.
            redirect: dict[str, Any] = {"stdout": self.stderr} if self.as_json else {}
            output = call_command(command[0], *command[1:], **redirect)
        return {"tenant": record.slug, "command": command, "output": output}

    def _for_many(
        self,
        command: list[str],
        *,
        mode: str | None,
        cell: str | None,
        state: str,
        parallel: int,
        **_: Any,
    ) -> dict[str, Any]:
        if parallel < 1:
            raise InvalidRequest("At least one tenant at a time: --parallel 1.")
        if state not in Tenant.State.values or state == Tenant.State.ERASED:
            known = ", ".join(name for name in Tenant.State.values if name != "erased")
            raise InvalidRequest(f"{state!r} is no state to run in. States: {known}.")
        chosen = {"state": state, "cell__mode": mode, "cell": cell}
        tenants = Tenant.objects.select_related("cell", "plan").prefetch_related("domains")
        records = [
            record_for(tenant)
            for tenant in tenants.filter(**{key: value for key, value in chosen.items() if value})
        ]
        if not records:
            raise InvalidRequest("No tenant is like that: see `tenant list`.")
        done: list[Outcome] = []

        def tell(outcome: Outcome) -> None:
            done.append(outcome)
            end = "done" if outcome.status == 0 else f"failed: {outcome.reason}"
            place = f"[{len(done)}/{len(records)}] {outcome.tenant}"
            self.progress(f"{place}: {end} ({outcome.seconds:.1f} s)")

        outcomes = run_for_each(records, command, parallel=parallel, tell=tell)
        failed = [outcome.tenant for outcome in outcomes if outcome.status]
        if failed:
            shown = ", ".join(failed[:10]) + (" …" if len(failed) > 10 else "")
            self._failures = f"{len(failed)} of {len(outcomes)} tenants failed: {shown}."
        return {
            "command": command,
            "done": len(outcomes) - len(failed),
            "failed": len(failed),
            "tenants": [outcome.as_document() for outcome in outcomes],
        }

    def show_exec(self, document: dict[str, Any]) -> None:
        """One tenant's command has printed already."""
        if "tenants" not in document:
            return
        for entry in document["tenants"]:
            if entry["output"]:
                self.stdout.write(f"── {entry['tenant']}\n{entry['output'].rstrip()}")
        columns = ("tenant", "cell", "outcome", "seconds", "reason")
        self.table(columns, ([entry[name] for name in columns] for entry in document["tenants"]))

    def handle(self, *args: Any, **options: Any) -> None:
        """The report first, then the failures' line and status 1."""
        super().handle(*args, **options)
        if self._failures:
            raise CommandError(self._failures)
