from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0009_rollout'),
    ]

    operations = [
        migrations.AddField(
            model_name='usage',
            name='connections',
            field=models.IntegerField(default=0, help_text='The most that were held at once, where they are limited'),
        ),
        migrations.AddField(
            model_name='usage',
            name='files',
            field=models.BigIntegerField(help_text='Bytes of files, of the home region', null=True),
        ),
    ]
