"""The Celery application: one for all regions, each with its own broker and its own queue.

Guarantees that a region's tasks stay in the region (its Valkey, its queue), that messages are
JSON, that each carries its tenant, and that a task whose worker dies is delivered again. Each
worker keeps the region's limits beside its tasks.
"""

from typing import Any

from celery.signals import worker_ready

from config import env
from tenants.celery.app import TenantCelery

env.use_settings()

app = TenantCelery("meridian")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect  # type: ignore[untyped-decorator]
def keep_limits(**_: Any) -> None:
    from tenants.limits.keeper import start_keeper  # it needs Django's apps

    start_keeper()
