"""`publish.directory()`: which host is whose, as every region's gateway and edge read it."""

from django.db import migrations

FUNCTION = """
CREATE SCHEMA IF NOT EXISTS publish;
GRANT USAGE ON SCHEMA publish TO meridian_agent;

-- plpgsql, because `_stamp` is added once the table is put under the fabric, after this.
CREATE FUNCTION publish.directory() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'version', (SELECT greatest((SELECT max(_stamp) FROM public.tenants_tenant),
                                    (SELECT max(_stamp) FROM public.tenants_domain), 0)),
        'tenants', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', tenant.id, 'slug', tenant.slug, 'cell', tenant.cell_id, 'mode', cell.mode,
                'schema', CASE cell.mode WHEN 'schema'
                               THEN 't_' || replace(tenant.slug, '-', '_') ELSE 'public' END,
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
    dependencies = [("tenants", "0001_initial"), ("regions", "0001_initial")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION publish.directory()")]
