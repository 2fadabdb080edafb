"""How the platform runs: settings, URLs, servers and workers. `celery -A config` starts here."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
