"""The real settings for workers that tests start, with patience that a test has."""

from config.settings import *  # noqa: F403
from config.settings import CELERY_BROKER_TRANSPORT_OPTIONS

CELERY_BROKER_TRANSPORT_OPTIONS = CELERY_BROKER_TRANSPORT_OPTIONS | {
    "visibility_timeout": 3,
    "unacked_restore_interval": 1,
    "tenant_concurrency": 2,
}
