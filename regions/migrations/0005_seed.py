"""Cells whose tenants start with rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("regions", "0004_spare_cells")]

    operations = [
        migrations.AddField(
            "cell",
            "has_seed",
            models.BooleanField(default=False, help_text="Its tenants start with rows."),
        ),
    ]
