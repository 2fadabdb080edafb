"""The test run's deployment, as a web process of a region serves it, with views that tests ask."""

from tests.tenants.worker_settings import *  # noqa: F403

MERIDIAN_TENANT_URLCONF = "tests.tenants.web.urls"
MERIDIAN_WEBSOCKETS = "tests.tenants.web.sockets.application"
# Fewer connections than requests at once.
MERIDIAN_POOL = {"per_database": 4, "total": 8, "wait_seconds": 20.0}
