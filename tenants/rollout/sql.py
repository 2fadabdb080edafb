"""The SQL of a plan, for reading. It is made by running it for one tenant and rolling back."""

from __future__ import annotations

from tenants.rollout.planning import Options, Plan
from tenants.rollout.sessions import Sessions
from tenants.rollout.steps import Kind
from tenants.rollout.templates import Templates
from tenants.rollout.units import Work


def render_plan(plan: Plan, options: Options) -> dict[str, list[str]]:
    """By `<route>/<part>`. What comes after rows that are changed can't be had before they are."""
    templates = Templates(options.manner.lock_timeout)
    sessions = Sessions()
    found: dict[str, list[str]] = {}
    firsts: dict[int, Work] = {}
    for work in plan.ready:
        if work.trouble is None and not work.behind:
            firsts.setdefault(id(work.route), work)
    try:
        for work in firsts.values():
            regions = [name for name in work.unit.spec.regions if name not in work.absent]
            alias = sessions.alias(work.unit.spec, sessions.home(work.unit.spec, regions))
            for number, part in enumerate(work.route.parts):
                if part.kind is not Kind.STRUCTURE:
                    break
                template = templates.find(work.route, part, work.unit, alias)
                body = template.for_tenant(work.unit.schema, work.unit.tenant_id)
                found[f"{id(work.route)}/{number}"] = body.split(";\n")
    finally:
        sessions.close()
    return found
