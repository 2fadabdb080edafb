"""`publish.topology()`: the document that edge, gateway and agents route by."""

from django.db import migrations

FUNCTION = """
CREATE SCHEMA IF NOT EXISTS publish;
GRANT USAGE ON SCHEMA publish TO meridian_agent;

-- plpgsql, because `_stamp` is added once the table is put under the fabric, after this.
CREATE FUNCTION publish.topology() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'version', (SELECT greatest((SELECT max(_stamp) FROM public.regions_cell),
                                    (SELECT max(_stamp) FROM public.regions_replica), 0)),
        'cells', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'name', cell.name, 'mode', cell.mode, 'policy', cell.policy,
                'regions', (SELECT jsonb_agg(replica.region_id ORDER BY priority, region_id)
                              FROM public.regions_replica replica
                             WHERE replica.cell_id = cell.name)) ORDER BY cell.name)
              FROM public.regions_cell cell
             WHERE state = 'ready'
               AND EXISTS (SELECT FROM public.regions_replica WHERE cell_id = cell.name)
        ), '[]'));
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("regions", "0001_initial")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION publish.topology()")]
