"""Celery that knows tenants: signed messages, fair queues, tasks that follow their tenant."""
