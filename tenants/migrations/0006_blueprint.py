"""A blueprint is a mode's whole script. Those of before are recorded anew by the next tenants."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0005_limits")]

    operations = [
        migrations.DeleteModel("Blueprint"),
        migrations.CreateModel(
            "Blueprint",
            [
                (
                    "name",
                    models.CharField(
                        help_text="mode:fingerprint",
                        max_length=80,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("script", models.TextField()),
                (
                    "schema",
                    models.CharField(
                        help_text="The schema that it was recorded in.", max_length=63
                    ),
                ),
                (
                    "tenant",
                    models.UUIDField(help_text="The tenant that it was recorded for.", null=True),
                ),
                ("signature", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
    ]
