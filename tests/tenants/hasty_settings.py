"""For a worker that is to take what another one has lost, within seconds: it also takes what one
holds that is only slow."""

from tests.tenants.worker_settings import *  # noqa: F403
from tests.tenants.worker_settings import CELERY_BROKER_TRANSPORT_OPTIONS

CELERY_BROKER_TRANSPORT_OPTIONS = CELERY_BROKER_TRANSPORT_OPTIONS | {
    "visibility_timeout": 3,
    "unacked_restore_interval": 1,
}
