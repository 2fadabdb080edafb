from django.apps import AppConfig


class IdempotencyConfig(AppConfig):
    name = "gateway.idempotency"
    label = "idempotency"
    verbose_name = "Answers to repeated requests"
