"""Who writes a cell that follows the sun, and when."""

from django.db import migrations, models

TOPOLOGY = """
CREATE OR REPLACE FUNCTION publish.topology() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object(
        'version', (SELECT greatest((SELECT max(_stamp) FROM public.regions_cell),
                                    (SELECT max(_stamp) FROM public.regions_replica), 0)),
        'cells', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'name', cell.name, 'mode', cell.mode, 'policy', cell.policy,
                'timetable', cell.timetable,
                'regions', (SELECT jsonb_agg(replica.region_id ORDER BY priority, region_id)
                              FROM public.regions_replica replica
                             WHERE replica.cell_id = cell.name)) ORDER BY cell.name)
              FROM public.regions_cell cell
             WHERE state IN ('ready', 'spare')
               AND EXISTS (SELECT FROM public.regions_replica WHERE cell_id = cell.name)
        ), '[]'));
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("regions", "0005_seed")]

    operations = [
        migrations.AddField(
            "cell",
            "timetable",
            models.TextField(
                blank=True, default="", help_text="Who writes when, if it follows the sun."
            ),
        ),
        migrations.RunSQL(TOPOLOGY, migrations.RunSQL.noop),
    ]
