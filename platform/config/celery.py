"""The Celery application: one for all regions, each with its own broker and its own queue.

Guarantees that a region's tasks stay in the region (its Valkey, its queue), that messages are
JSON, that each carries its tenant, and that a task whose worker dies is delivered again.
"""

from config import env
from tenants.celery.app import TenantCelery

env.use_settings()

app = TenantCelery("meridian")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
