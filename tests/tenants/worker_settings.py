"""The real settings for workers that tests start, with patience that a test has."""

from config.settings import *  # noqa: F403
from config.settings import CELERY_BEAT_SCHEDULE, CELERY_BROKER_TRANSPORT_OPTIONS

CELERY_BROKER_TRANSPORT_OPTIONS = CELERY_BROKER_TRANSPORT_OPTIONS | {
    "tenant_concurrency": 2,
}
CELERY_BEAT_SCHEDULE = {
    "start-tenant-jobs": {**CELERY_BEAT_SCHEDULE["start-tenant-jobs"], "schedule": 0.5}
}
MERIDIAN_TENANT_BEAT = {
    "pulse": {"task": "tests.tenants.jobs.pulse", "schedule": 4.0, "missed": "skip"},
}
# Fewer connections than tasks at once.
MERIDIAN_POOL = {"per_database": 1, "wait_seconds": 20.0}
