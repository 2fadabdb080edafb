"""What a region's cluster really holds: asked of the server, not of the registry."""

from __future__ import annotations

import psycopg

from regions.deployment import ADMIN_ROLE, Deployment
from regions.residency import Destination
from regions.residency.audit import Channel, ClusterFacts

# Without templates, to which nobody can connect: they hold no row of anybody.
DATABASES = """
SELECT datname FROM pg_database WHERE datallowconn OR NOT datistemplate ORDER BY datname
"""
CHANNELS = """
SELECT 'slot', slot_name, database, plugin FROM pg_replication_slots
UNION ALL
SELECT 'subscription', subname, datname, 'pgoutput'
  FROM pg_subscription JOIN pg_database d ON d.oid = subdbid
ORDER BY 1, 2
"""


def read_cluster(deployment: Deployment, region: str) -> ClusterFacts:
    """Databases, slots and subscriptions of a region; `error` is set when it does not answer."""
    place = Destination.of(deployment.region(region))
    try:
        with psycopg.connect(
            deployment.dsn(region, "postgres", ADMIN_ROLE), connect_timeout=2, autocommit=True
        ) as connection:
            databases = tuple(name for (name,) in connection.execute(DATABASES))
            channels = tuple(Channel(*row) for row in connection.execute(CHANNELS))
    except psycopg.Error as error:
        return ClusterFacts(place, error=str(error).strip().partition("\n")[0])
    return ClusterFacts(place, databases, channels)
