"""What a commit has changed in the published documents, noted by triggers for the agent."""

from django.db import migrations

TOUCHED = """
-- This replica's own, and gone after a crash: the agent then writes everything.
CREATE UNLOGGED TABLE publish.touched (document text NOT NULL, key text);
REVOKE ALL ON publish.touched FROM PUBLIC, meridian_app;
GRANT SELECT, DELETE ON publish.touched TO meridian_agent;

-- TG_ARGV: the document, then the column that names its entry (none: the whole document).
CREATE FUNCTION publish.touch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO publish.touched (document, key)
    SELECT DISTINCT TG_ARGV[0], row ->> TG_ARGV[1]
      FROM (VALUES (to_jsonb(OLD)), (to_jsonb(NEW))) AS rows (row) WHERE row IS NOT NULL;
    PERFORM pg_notify('publish', '');
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION publish.touch() FROM PUBLIC;
"""

# ALWAYS: also for the rows that the fabric applies.
TRIGGER = """
CREATE TRIGGER publish_touch AFTER INSERT OR UPDATE OR DELETE ON public.{table}
    FOR EACH ROW EXECUTE FUNCTION publish.touch('topology');
ALTER TABLE public.{table} ENABLE ALWAYS TRIGGER publish_touch;
"""


class Migration(migrations.Migration):
    dependencies = [("regions", "0002_publish")]

    operations = [
        migrations.RunSQL(TOUCHED, migrations.RunSQL.noop),
        *(
            migrations.RunSQL(TRIGGER.format(table=table), migrations.RunSQL.noop)
            for table in ("regions_cell", "regions_replica")
        ),
    ]
