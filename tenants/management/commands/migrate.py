"""Django's `migrate`, kept from doing half of the work.

Structure changes in every replica, with isolation and capture: by hand it would be in one of them
and without either. Databases of your own are migrated as ever.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate

from tenants.connections import real_alias
from tenants.databases import is_cell, is_platform


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        alias = real_alias(options["database"])
        only_looks = options.get("plan") or options.get("check_unapplied")
        if is_cell(alias):
            cell = alias.removeprefix("cell:").partition("@")[0]
            raise CommandError(
                f"`migrate` would change one replica of cell {cell!r}, without isolation and "
                f"capture. Run `manage.py cell migrate {cell}`: it migrates every tenant of the "
                "cell in every region."
            )
        if is_platform(alias) and not only_looks:
            raise CommandError(
                "`migrate` would change the control cell in one region. Run "
                "`manage.py cell migrate control` for that, and `manage.py cell migrate --all` for "
                "the tenants."
            )
        super().handle(*args, **options)
