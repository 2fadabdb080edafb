"""A tenant's schema has a name of its own, which says nothing of the tenant."""

from django.db import migrations, models

import tenants.models

# Every region migrates its own replica, whether it may write now or not: rewriting a column's type
# fires no trigger, and what was derived from the slug stays as it is.
COLUMN = """
ALTER TABLE public.tenants_tenant ADD COLUMN own_schema varchar(63) NOT NULL DEFAULT '';
ALTER TABLE public.tenants_tenant ALTER COLUMN own_schema DROP DEFAULT;
ALTER TABLE public.tenants_tenant ALTER COLUMN own_schema TYPE varchar(63)
    USING 't_' || replace(slug, '-', '_');
ALTER TABLE public.tenants_tenant
    ADD CONSTRAINT tenants_tenant_own_schema_key UNIQUE (own_schema);
"""

DIRECTORY = """
CREATE OR REPLACE FUNCTION publish.directory() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'version', (SELECT greatest((SELECT max(_stamp) FROM public.tenants_tenant),
                                    (SELECT max(_stamp) FROM public.tenants_domain), 0)),
        'tenants', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', tenant.id, 'slug', tenant.slug, 'cell', tenant.cell_id, 'mode', cell.mode,
                'schema', CASE cell.mode WHEN 'schema' THEN tenant.own_schema ELSE 'public' END,
                'state', tenant.state, 'residency', tenant.residency,
                'token_generation', tenant.token_generation,
                'hosts', coalesce((SELECT jsonb_agg(host ORDER BY "primary" DESC, host)
                                     FROM public.tenants_domain
                                    WHERE tenant_id = tenant.id), '[]')) ORDER BY tenant.slug)
              FROM public.tenants_tenant tenant
              JOIN public.regions_cell cell ON cell.name = tenant.cell_id
             WHERE tenant.state <> 'erased'
        ), '[]'));
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_move")]

    operations = [
        migrations.RunSQL(
            COLUMN,
            migrations.RunSQL.noop,
            state_operations=[
                migrations.AddField(
                    "tenant",
                    "own_schema",
                    models.CharField(
                        default=tenants.models.new_schema,
                        editable=False,
                        help_text="Holds its tables while it lives in a cell of mode schema.",
                        max_length=63,
                        unique=True,
                    ),
                )
            ],
        ),
        migrations.RunSQL(DIRECTORY, migrations.RunSQL.noop),
    ]
