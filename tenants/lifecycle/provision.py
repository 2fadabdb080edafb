"""Onboards a tenant: placed lawfully, isolated, and usable in each of its regions on return.

Guarantees that bad input changes nothing, that two processes can't onboard the same slug, and that
a run which was stopped at any step is finished, or cleared away, by the next one (its own next
attempt, where the control cell's writer has changed). With an idempotency key, asking again is the
same tenant again.

A place that is ready (a spare, or tables that tenants share) costs one transaction. Otherwise it
is made step by step, under a claim on the slug.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import Error as DjangoError
from django.db import IntegrityError
from psycopg import Error as PostgresError

from regions.cli import one_line
from regions.errors import RegionsError
from regions.topology import CellSpec, TenancyMode
from tenants.claim import claim
from tenants.databases import control_writer_alias
from tenants.errors import ProvisioningFailed, SlugTaken, TenantsError
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.lifecycle.across_writers import across_writers
from tenants.lifecycle.create_cell import furnish, make
from tenants.lifecycle.register import (
    forget,
    own_host,
    register,
    register_at_once,
    take_over,
)
from tenants.lifecycle.request import Request
from tenants.lifecycle.sow import sow
from tenants.lifecycle.states import set_state
from tenants.lifecycle.usable import wait_until_usable
from tenants.limits.plans import find_plan
from tenants.models import Domain, Plan, Tenant
from tenants.placement import Placement, check_name, choose, is_own_cell
from tenants.seams import record_for, spec_for, unborn

UNFINISHED = (Tenant.State.FAILED, Tenant.State.PROVISIONING)
STOPPED = (DjangoError, PostgresError, OSError, RegionsError, TenantsError)
# How long a repeated request waits for the first one to end.
REPEAT_SECONDS = 120.0


def provision(
    slug: str,
    *,
    mode: str,
    cell: str | None = None,
    residency: str | None = None,
    policy: str | None = None,
    regions: Sequence[str] | None = None,
    plan: str = Plan.DEFAULT,
    idempotency_key: str | None = None,
    actor: str,
    progress: Progress,
) -> Tenant:
    """Raises InvalidRequest, KeyReused, SlugTaken, ResidencyDenied … before anything is changed,
    and ProvisioningFailed after what was made has been taken back; NoWriter if nobody could write
    the control cell for a minute. Repeating it is safe."""
    check_name(slug, "slug")
    wishes = {"mode": mode, "cell": cell, "residency": residency, "policy": policy}
    named = list(regions) if regions else None
    request = Request.of(slug, plan, idempotency_key, regions=named, **wishes)

    def attempt() -> tuple[Tenant, str, CellSpec]:
        using = control_writer_alias()
        if plan != Plan.DEFAULT:
            find_plan(plan, using=using)
        run = _Run(request, actor, progress, using)
        made = run.made_before()
        if made is not None:
            return made, made.domains.all()[0].host, spec_for(made.cell)
        placement = choose(
            mode=mode,
            cell=cell,
            residency_text=residency,
            policy=policy,
            regions=regions,
            using=using,
        )
        tenant = run.place(placement)
        return tenant, own_host(slug), replace(placement.spec, name=tenant.cell_id)

    tenant, host, spec = across_writers(attempt, progress)
    progress("waiting until every region serves it", 85)
    wait_until_usable(slug, host, spec)
    progress("ready", 100)
    return tenant


@dataclass(frozen=True, slots=True)
class _Run:
    request: Request
    actor: str
    progress: Progress
    using: str

    def made_before(self) -> Tenant | None:
        """What an earlier request with this key has finished."""
        found = self.request.find(using=self.using)
        return None if found is None or found.state in UNFINISHED else found

    def place(self, placement: Placement) -> Tenant:
        self.progress(f"cell {placement.spec.name}", 5)
        if placement.new and placement.spec.mode is not TenancyMode.DEDICATED:
            self._refuse_taken()
            cell = make(placement.spec, actor=self.actor, progress=self.progress)
            placement = replace(placement, new=False, seeded=cell.has_seed)
        try:
            tenant = register_at_once(self.request, placement, actor=self.actor, using=self.using)
        except IntegrityError:
            # Somebody has the slug, its host or the key: who, and what with, is seen below.
            tenant = None
        return tenant or self._place_step_by_step(placement)

    def _place_step_by_step(self, placement: Placement) -> Tenant:
        busy = SlugTaken(
            f"The slug {self.request.slug!r} is being onboarded by another process now."
        )
        with claim(self.request.slug, busy, patience=REPEAT_SECONDS if self.request.key else 0):
            if finished := self.made_before():
                return finished
            self.progress("registering", 8)
            tenant, placement = self._register(placement)
            self._build(tenant, placement)
            self.progress("opening its doors", 80)
            return set_state(
                tenant, Tenant.State.ACTIVE, verb="activate", actor=self.actor, using=self.using
            )

    def _register(self, placement: Placement) -> tuple[Tenant, Placement]:
        """The tenant's rows, and where its place will be: elsewhere, if that was begun before."""
        try:
            return self._register_anew(placement), placement
        except IntegrityError:
            unfinished = self._refuse_taken()
        if unfinished is None:
            return self._register_anew(placement), placement
        if not _fits(unfinished, placement):
            self._remove(unfinished)
            forget(unfinished, using=self.using)
            return self._register_anew(placement), placement
        take_over(unfinished, self.request, using=self.using)
        return unfinished, replace(placement, spec=spec_for(unfinished.cell))

    def _register_anew(self, placement: Placement) -> Tenant:
        return register(self.request, placement, actor=self.actor, using=self.using)

    def _build(self, tenant: Tenant, placement: Placement) -> None:
        try:
            if placement.new:
                make(placement.spec, actor=self.actor, progress=self.progress)
            record = unborn(tenant.id, tenant.slug, tenant.own_schema, placement.spec)
            isolation_of(placement.spec).prepare_tenant(record, self.progress)
            if placement.spec.mode is TenancyMode.SHARED and tenant.cell.has_seed:
                self.progress("the rows that it starts with", 60)
                sow(record, placement.spec)
        except STOPPED as error:
            raise ProvisioningFailed(
                f"Onboarding {tenant.slug!r} stopped: {one_line(error)} "
                f"({self._take_back(tenant, placement)}). Repeat the command once that is mended."
            ) from error

    def _take_back(self, tenant: Tenant, placement: Placement) -> str:
        """What is left, for the message."""
        try:
            set_state(tenant, Tenant.State.FAILED, verb="fail", actor=self.actor, using=self.using)
            self._remove(tenant)
            if is_own_cell(tenant.cell_id):
                forget(tenant, using=self.using)
        except STOPPED as error:
            return f"and cleaning up failed too ({one_line(error)})"
        return "nothing of it remains"

    def _refuse_taken(self) -> Tenant | None:
        """What an earlier run left unfinished under this slug. Raises SlugTaken."""
        tenants = Tenant.objects.using(self.using).select_related("cell")
        found = tenants.filter(slug=self.request.slug).first()
        host = own_host(self.request.slug)
        holder = Domain.objects.using(self.using).filter(host=host).exclude(tenant=found).first()
        if holder is not None:
            raise SlugTaken(f"The host {host!r} belongs to another tenant: choose another slug.")
        if found is not None and found.state not in UNFINISHED:
            raise SlugTaken(f"The slug {self.request.slug!r} is taken: choose another.")
        return found

    def _remove(self, tenant: Tenant) -> None:
        spec = spec_for(tenant.cell)
        isolation_of(spec).remove_tenant(record_for(tenant), self.progress)
        if spec.mode is TenancyMode.DEDICATED and not is_own_cell(spec.name):
            # Somebody made it by hand: it stays, empty.
            furnish(spec, self.progress)


def _fits(unfinished: Tenant, placement: Placement) -> bool:
    """Whether what was begun is what is wanted now. What failed was taken back, more or less."""
    begun, wanted = spec_for(unfinished.cell), placement.spec
    same_cell = begun.name == wanted.name or placement.new
    return (
        unfinished.state == Tenant.State.PROVISIONING
        and same_cell
        and unfinished.residency == placement.residency
        and (begun.mode, begun.policy, begun.regions)
        == (wanted.mode, wanted.policy, wanted.regions)
    )
