"""Makes a peer's tables, and for django-tenants its tenants: `python prepare.py [SLUG…]`.

The first tenant is made by django-tenants itself; what it ran is replayed for the others, which
is quicker and leaves the same tables. Runs in the peers' environment.
"""

import sys
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

DOMAIN = "localhost"
ITEMS = 50


def main(slugs: list[str]) -> None:
    django.setup()
    if not slugs:
        call_command("migrate", verbosity=0)
        fill()
        return
    call_command("migrate_schemas", "--shared", verbosity=0)
    from customers.models import Client, Domain

    statements = record(slugs[0])
    for slug in slugs[1:]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f'CREATE SCHEMA "{schema_of(slug)}"')
            cursor.execute(f'SET LOCAL search_path TO "{schema_of(slug)}"')
            cursor.execute(";\n".join(statements).replace("%", "%%"), [])
    Client.objects.bulk_create(
        [Client(schema_name=schema_of(slug), name=slug) for slug in slugs[1:]], batch_size=500
    )
    Domain.objects.bulk_create(
        [
            Domain(domain=f"{client.name}.{DOMAIN}", tenant=client, is_primary=True)
            for client in Client.objects.exclude(name=slugs[0])
        ],
        batch_size=500,
    )
    for slug in slugs:
        connection.set_schema(schema_of(slug))
        fill()


def record(slug: str) -> list[str]:
    """Have django-tenants make one tenant; the statements that changed something."""
    from customers.models import Client, Domain

    statements: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        head = sql.lstrip().upper()
        if connection.schema_name == schema_of(slug) and not head.startswith(
            ("SELECT", "SAVEPOINT", "RELEASE", "SET ", "SHOW", "CREATE SCHEMA")
        ):
            cursor = context["cursor"].cursor
            for values in params if many else [params]:
                statements.append(cursor.mogrify(sql, values).rstrip().rstrip(";"))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        client = Client(schema_name=schema_of(slug), name=slug)
        client.save()
    Domain.objects.create(domain=f"{slug}.{DOMAIN}", tenant=client, is_primary=True)
    return statements


def schema_of(slug: str) -> str:
    return "t_" + slug.replace("-", "_")


def fill() -> None:
    """As many rows as each of Meridian's tenants gets: see `bench/tenancy/requests.py`."""
    from shop.models import Item

    Item.objects.bulk_create(
        [Item(title=f"Item {n}", body="What it is. " * 4, price=n) for n in range(ITEMS)]
    )


if __name__ == "__main__":
    assert settings.SECRET_KEY
    main(sys.argv[1:])
