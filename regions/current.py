"""The deployment that this Django process works in."""

from __future__ import annotations

from django.conf import settings

from regions.deployment import Deployment
from regions.errors import DeploymentError


def deployment() -> Deployment:
    """The deployment of this process. Raises DeploymentError when there is none."""
    found: Deployment | None = settings.MERIDIAN_DEPLOYMENT
    if found is None:
        raise DeploymentError("There is no deployment here: start the fleet with `make up` first.")
    return found
