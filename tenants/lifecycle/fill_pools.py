"""Keeps pools of places that are ready, so that onboarding only writes rows.

Guarantees that a pool is tended by one process at a time, that a spare is taken only when it is
whole in each of its regions, and that what was stopped, broken or outdated is removed and made
anew. Spares are placed by the same law as tenants, and hold nobody's data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import Error as DjangoError
from django.db import transaction
from django.utils import timezone
from psycopg import Error as PostgresError

from regions.cli import one_line
from regions.current import deployment
from regions.deployment import CONTROL_CELL, CONTROL_DATABASE
from regions.errors import RegionsError
from regions.models import Cell
from regions.replication.status import heard_until
from regions.topology import CellSpec, TenancyMode
from tenants import audit
from tenants.claim import claim
from tenants.databases import control_epoch, control_writer_alias, leases
from tenants.directory import TenantRecord
from tenants.errors import PoolBusy, TenantsError
from tenants.isolation import blueprint
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.lifecycle.create_cell import make
from tenants.lifecycle.register import forget_cell, register_cell
from tenants.lifecycle.wanted_pools import wanted_pools
from tenants.models import Spare, Tenant
from tenants.placement import own_cell_name
from tenants.pools import Action, Now, Pool, SpareFacts, Verdict, judge, lacking
from tenants.seams import find_cell, spec_for, unborn

log = logging.getLogger("tenants.pools")

STOPPED = (DjangoError, PostgresError, OSError, RegionsError, TenantsError)


@dataclass(frozen=True, slots=True)
class Tended:
    """What was done to one pool. `problem` is why something was not."""

    pool: str
    made: int
    discarded: int
    problem: str = ""


def fill_pools(
    *, key: str | None = None, to: int | None = None, actor: str, progress: Progress
) -> list[Tended]:
    """Tend every pool, or the one of this `key`; `to` is how many it shall have instead of what
    the settings say. A pool that somebody tends already is left to them."""
    using = control_writer_alias()
    found = []
    for pool, kept in _pools(using):
        if key in (None, pool.key):
            wanted = pool if to is None else replace(pool, wanted=to)
            found.append(_Tending(wanted, kept, actor, progress, using).run())
    return found


def drain_pools(*, key: str | None = None, actor: str, progress: Progress) -> list[Tended]:
    """Remove every spare that is certainly nobody's. What the settings want is made again later."""
    using = control_writer_alias()
    return [
        _Tending(replace(pool, wanted=0), False, actor, progress, using).run()
        for pool, _ in _pools(using)
        if key in (None, pool.key)
    ]


@dataclass(frozen=True, slots=True)
class _Tending:
    pool: Pool
    kept: bool
    actor: str
    progress: Progress
    using: str

    def run(self) -> Tended:
        made = discarded = 0
        problem = ""
        try:
            with claim(f"pool {self.pool.key}", PoolBusy("Another process tends it now.")):
                verdicts = []
                for spare, verdict in self._judged():
                    verdicts.append(verdict)
                    if verdict.action is Action.DISCARD:
                        self.progress(f"{self.pool.key}: removing a spare. {verdict.reason}", 10)
                        self._discard(spare)
                        discarded += 1
                for number in range(missing := lacking(self.pool, verdicts)):
                    self.progress(f"{self.pool.key}: spare {number + 1} of {missing}", 50)
                    self._make()
                    made += 1
        except PoolBusy as busy:
            problem = str(busy)
        except STOPPED as error:
            problem = one_line(error)
            log.warning("Pool %s is not filled: %s", self.pool.key, problem)
        if made or discarded:
            detail = {"made": made, "discarded": discarded}
            audit.record("fill_pool", self.pool.key, actor=self.actor, using=self.using, **detail)
        return Tended(self.pool.key, made, discarded, problem)

    def _judged(self) -> Iterator[tuple[Spare, Verdict]]:
        rows = Spare.objects.using(self.using).filter(pool=self.pool.key)
        spares = list(rows.select_related("cell"))
        now = Now(blueprint.fingerprint(), control_epoch(), None)
        if any(spare.doubted_at for spare in spares):
            now = replace(now, heard=_heard_until())
        for spare in spares:
            verdict = judge(_facts(spare), now, kept=self.kept)
            if verdict.action in (Action.DOUBT, Action.TRUST):
                doubted = verdict.action is Action.DOUBT
                spare.doubted_at = timezone.now() if doubted else None
                spare.epoch = spare.epoch if doubted else now.epoch
                spare.save(using=self.using, update_fields=["doubted_at", "epoch"])
            if verdict.action is Action.TRUST:
                verdict = judge(_facts(spare), now, kept=self.kept)
            yield spare, verdict

    def _make(self) -> None:
        spare = Spare(
            pool=self.pool.key, fingerprint=blueprint.fingerprint(), epoch=control_epoch()
        )
        if self.pool.cell is not None:
            spec = spec_for(find_cell(self.pool.cell, using=self.using))
            spare.cell_id = spec.name
            spare.save(using=self.using, force_insert=True)
        else:
            spec = CellSpec(
                own_cell_name(), TenancyMode.DEDICATED, self.pool.policy, self.pool.regions
            )
            with transaction.atomic(using=self.using):
                spare.cell = register_cell(spec, actor=self.actor, using=self.using)
                spare.save(using=self.using, force_insert=True)
        try:
            if self.pool.cell is None:
                spare_state = Cell.State.SPARE
                make(spec, actor=self.actor, progress=self.progress, ready_as=spare_state)
            isolation_of(spec).prepare_tenant(_record_of(spare, spec), self.progress)
        except STOPPED as error:
            spare.state, spare.error = Spare.State.BROKEN, one_line(error)
            spare.save(using=self.using, update_fields=["state", "error"])
            raise
        spare.state = Spare.State.READY
        spare.save(using=self.using, update_fields=["state"])

    def _discard(self, spare: Spare) -> None:
        """The row goes last: until then it says what has yet to be removed."""
        rows = Spare.objects.using(self.using).filter(id=spare.id)
        with transaction.atomic(using=self.using):
            # Not under the hands of somebody who is taking it.
            if rows.select_for_update(skip_locked=True).first() is None:
                return
            if Tenant.objects.using(self.using).filter(id=spare.id).exists():
                rows.delete()
                return
            rows.update(state=Spare.State.BROKEN, error=spare.error or "It is being removed.")
        spec = spec_for(find_cell(spare.cell_id, using=self.using))
        isolation_of(spec).remove_tenant(_record_of(spare, spec), self.progress)
        with transaction.atomic(using=self.using):
            rows.delete()
            if spec.mode is TenancyMode.DEDICATED:
                forget_cell(spec.name, using=self.using)


def _record_of(spare: Spare, spec: CellSpec) -> TenantRecord:
    return unborn(spare.id, f"spare-{spare.id.hex[:12]}", spare.schema, spec)


def _heard_until() -> datetime | None:
    lease = leases().get(CONTROL_CELL)
    return heard_until(deployment(), CONTROL_DATABASE, lease.writer) if lease else None


def _facts(spare: Spare) -> SpareFacts:
    return SpareFacts(
        id=spare.id,
        state=spare.state,
        error=spare.error,
        fingerprint=spare.fingerprint,
        epoch=spare.epoch,
        doubted_at=spare.doubted_at,
    )


def _pools(using: str) -> list[tuple[Pool, bool]]:
    """Those that are kept, and those of which only spares are left."""
    kept = wanted_pools(using=using)
    left = {}
    spares = Spare.objects.using(using).exclude(pool__in=[pool.key for pool in kept])
    for spare in spares.select_related("cell").prefetch_related("cell__replicas"):
        spec = spec_for(spare.cell)
        cell = spec.name if spec.mode is TenancyMode.SCHEMA else None
        left[spare.pool] = Pool(spec.mode, cell, spec.regions, spec.policy, 0)
    return [(pool, True) for pool in kept] + [(pool, False) for pool in left.values()]
