import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Oven",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=40, unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="Loaf",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("picture", models.FileField(blank=True, upload_to="")),
                (
                    "oven",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="bakery.oven"
                    ),
                ),
            ],
        ),
    ]
