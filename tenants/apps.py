from django.apps import AppConfig

from tenants.logs import stamp_records


class TenantsConfig(AppConfig):
    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        stamp_records()
        from tenants import binding, checks, connections, merging  # noqa: F401 (registers)

        connections.install()
        binding.install()
        merging.install()
