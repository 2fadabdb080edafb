"""Plans, what differs from them for one tenant, usage; `publish.directory()` tells of both."""

import django.db.models.deletion
from django.db import migrations, models

PLANS = {
    "unlimited": {},
    "starter": {
        "requests_per_minute": 600, "burst": 60, "concurrent_requests": 8, "statement_ms": 5_000,
        "rows": 100_000, "bytes": 512 << 20, "tasks": 2, "connections": 6,
    },
    "standard": {
        "requests_per_minute": 6_000, "burst": 300, "concurrent_requests": 32,
        "statement_ms": 15_000, "rows": 2_000_000, "bytes": 10 << 30, "tasks": 8,
        "connections": 24,
    },
}

DIRECTORY = """
CREATE OR REPLACE FUNCTION publish.directory() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'version', (SELECT greatest((SELECT max(_stamp) FROM public.tenants_tenant),
                                    (SELECT max(_stamp) FROM public.tenants_domain),
                                    (SELECT max(_stamp) FROM public.tenants_plan), 0)),
        'plans', (SELECT jsonb_object_agg(name, limits) FROM public.tenants_plan),
        'tenants', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', tenant.id, 'slug', tenant.slug, 'cell', tenant.cell_id, 'mode', cell.mode,
                'schema', CASE cell.mode WHEN 'schema' THEN tenant.own_schema ELSE 'public' END,
                'state', tenant.state, 'residency', tenant.residency,
                'token_generation', tenant.token_generation,
                'plan', tenant.plan_id, 'limits', tenant.limits,
                'hosts', coalesce((SELECT jsonb_agg(host ORDER BY "primary" DESC, host)
                                     FROM public.tenants_domain
                                    WHERE tenant_id = tenant.id), '[]')) ORDER BY tenant.slug)
              FROM public.tenants_tenant tenant
              JOIN public.regions_cell cell ON cell.name = tenant.cell_id
             WHERE tenant.state <> 'erased'
        ), '[]'));
END $$;
"""


def add_plans(apps, schema_editor):
    plans = apps.get_model("tenants", "Plan").objects.using(schema_editor.connection.alias)
    for name, limits in PLANS.items():
        plans.create(name=name, limits=limits)


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0004_opaque_schema'),
    ]

    operations = [
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('name', models.SlugField(max_length=40, primary_key=True, serialize=False)),
                ('limits', models.JSONField(blank=True, default=dict, help_text='By name; what is not named is unlimited.')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.RunPython(add_plans, migrations.RunPython.noop),
        migrations.AddField(
            model_name='tenant',
            name='limits',
            field=models.JSONField(blank=True, default=dict, help_text='What differs from the plan; null lifts its limit.'),
        ),
        migrations.AddField(
            model_name='tenant',
            name='plan',
            field=models.ForeignKey(default='unlimited', on_delete=django.db.models.deletion.PROTECT, related_name='tenants', to='tenants.plan'),
        ),
        migrations.CreateModel(
            name='Usage',
            fields=[
                ('id', models.CharField(editable=False, max_length=100, primary_key=True, serialize=False)),
                ('region', models.CharField(max_length=40)),
                ('day', models.DateField()),
                ('requests', models.BigIntegerField(default=0)),
                ('refused', models.BigIntegerField(default=0, help_text='Requests that a limit kept out')),
                ('busy_ms', models.BigIntegerField(default=0, help_text='Time spent on answering')),
                ('rows', models.BigIntegerField(null=True)),
                ('bytes', models.BigIntegerField(null=True)),
                ('at', models.DateTimeField(auto_now=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='usage', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-day', 'region'],
            },
        ),
        migrations.RunSQL(DIRECTORY, migrations.RunSQL.noop),
    ]
