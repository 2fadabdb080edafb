"""The confirmation page of a region's failover, with its preview."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from console.access import needs
from console.confirming import Confirmation
from console.environment import here
from console.live.snapshot import observatory
from console.operations import queue
from console.pages import page
from console.specs import slugs_by_cell, topology
from regions.current import deployment
from regions.failover.preview import preview
from regions.models import Region
from regions.topology import read_leases


@needs("regions.change_region")
def confirm(request: HttpRequest, name: str) -> HttpResponse:
    """Show what would move; on POST, with the region's name typed, queue it once."""
    region = get_object_or_404(Region, name=name)
    form = Confirmation(request, name=region.name)
    if form.is_valid():
        return form.start(queue.FAILOVER, {"region": region.name})
    return _page(request, region, form)


def _page(request: HttpRequest, region: Region, form: Confirmation) -> HttpResponse:
    where, known = deployment(), topology()
    snapshot = observatory().look(where, known, here())
    leases = read_leases(where.map_dirs)
    return page(
        request,
        "console/failover.html",
        title=f"Fail {region.name} over",
        status=form.status,
        form=form,
        region=region,
        live=snapshot.region(region.name),
        preview=preview(known, leases, region.name, up=snapshot.up, tenants=slugs_by_cell()),
    )
