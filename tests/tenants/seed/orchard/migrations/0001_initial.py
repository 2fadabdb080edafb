"""Makes tables and plants the first trees, one with a key of its own."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def plant(apps: Any, schema_editor: Any) -> None:
    kinds, trees = apps.get_model("orchard", "Kind"), apps.get_model("orchard", "Tree")
    types = apps.get_model("contenttypes", "ContentType")
    apple = kinds.objects.create(name="apple")
    kind, _ = types.objects.get_or_create(app_label="orchard", model="kind")
    first = trees.objects.create(kind=apple, about=kind)
    trees.objects.create(pk=70, kind=apple, near=first)


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            "Kind",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=50, unique=True)),
            ],
        ),
        migrations.CreateModel(
            "Tree",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("height", models.IntegerField(default=0)),
                (
                    "kind",
                    models.ForeignKey("orchard.kind", django.db.models.deletion.CASCADE),
                ),
                (
                    "near",
                    models.ForeignKey(
                        "orchard.tree", django.db.models.deletion.SET_NULL, null=True
                    ),
                ),
                (
                    "about",
                    models.ForeignKey(
                        "contenttypes.contenttype", django.db.models.deletion.CASCADE, null=True
                    ),
                ),
                (
                    "keeper",
                    models.ForeignKey(
                        settings.AUTH_USER_MODEL, django.db.models.deletion.SET_NULL, null=True
                    ),
                ),
            ],
        ),
        migrations.RunPython(plant),
    ]
