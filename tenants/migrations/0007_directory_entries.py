"""`publish.directory()` entry by entry: one tenant's change costs one entry."""

from django.db import migrations

ENTRIES = """
CREATE VIEW publish.directory_entries AS
SELECT tenant.id AS key, jsonb_build_object(
           'id', tenant.id, 'slug', tenant.slug, 'cell', tenant.cell_id, 'mode', cell.mode,
           'schema', CASE cell.mode WHEN 'schema' THEN tenant.own_schema ELSE 'public' END,
           'state', tenant.state, 'residency', tenant.residency,
           'token_generation', tenant.token_generation,
           'plan', tenant.plan_id, 'limits', tenant.limits,
           'hosts', coalesce((SELECT jsonb_agg(host ORDER BY "primary" DESC, host)
                                FROM public.tenants_domain
                               WHERE tenant_id = tenant.id), '[]')) AS entry
  FROM public.tenants_tenant tenant
  JOIN public.regions_cell cell ON cell.name = tenant.cell_id
 WHERE tenant.state <> 'erased';

-- plpgsql, because `_stamp` is added once the table is put under the fabric, after this.
CREATE OR REPLACE FUNCTION publish.directory() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'version', (SELECT greatest((SELECT max(_stamp) FROM public.tenants_tenant),
                                    (SELECT max(_stamp) FROM public.tenants_domain),
                                    (SELECT max(_stamp) FROM public.tenants_plan), 0)),
        'plans', (SELECT jsonb_object_agg(name, limits) FROM public.tenants_plan),
        'tenants', (SELECT coalesce(jsonb_agg(entry ORDER BY entry ->> 'slug'), '[]')
                      FROM publish.directory_entries));
END $$;

-- A tenant may arrive here before its cell does.
CREATE FUNCTION publish.touch_tenants() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO publish.touched (document, key)
    SELECT 'directory', id FROM public.tenants_tenant WHERE cell_id = NEW.name;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION publish.touch_tenants() FROM PUBLIC;
CREATE TRIGGER publish_touch_tenants AFTER INSERT OR UPDATE OF mode ON public.regions_cell
    FOR EACH ROW EXECUTE FUNCTION publish.touch_tenants();
ALTER TABLE public.regions_cell ENABLE ALWAYS TRIGGER publish_touch_tenants;

CREATE TRIGGER publish_touch AFTER INSERT OR UPDATE OR DELETE ON public.tenants_tenant
    FOR EACH ROW EXECUTE FUNCTION publish.touch('directory', 'id');
ALTER TABLE public.tenants_tenant ENABLE ALWAYS TRIGGER publish_touch;
CREATE TRIGGER publish_touch AFTER INSERT OR UPDATE OR DELETE ON public.tenants_domain
    FOR EACH ROW EXECUTE FUNCTION publish.touch('directory', 'tenant_id');
ALTER TABLE public.tenants_domain ENABLE ALWAYS TRIGGER publish_touch;
CREATE TRIGGER publish_touch AFTER INSERT OR UPDATE OR DELETE ON public.tenants_plan
    FOR EACH ROW EXECUTE FUNCTION publish.touch('directory');
ALTER TABLE public.tenants_plan ENABLE ALWAYS TRIGGER publish_touch;
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_blueprint"), ("regions", "0003_touched")]

    operations = [migrations.RunSQL(ENTRIES, migrations.RunSQL.noop)]
