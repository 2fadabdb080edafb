"""Its handler writes rows as django-guardian's does, and as careless ones do."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class OrchardConfig(AppConfig):
    name = "tests.tenants.seed.orchard"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(hire, sender=self, dispatch_uid="orchard")


def hire(using: str, **kwargs: Any) -> None:
    from django.contrib.auth.models import Group, Permission, User

    from tests.tenants.seed.orchard.models import Kind

    keeper, made = User.objects.using(using).get_or_create(username="keeper")
    if made:
        keeper.set_unusable_password()
        keeper.save(using=using)
    group, _ = Group.objects.get_or_create(name="keepers")
    group.permissions.add(Permission.objects.get(codename="change_kind"))
    Kind.objects.get_or_create(name="quince")
