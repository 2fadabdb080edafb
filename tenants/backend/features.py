"""What Django may assume of a cell's tables."""

from typing import Any

from django.db.backends.postgresql import features


class DatabaseFeatures(features.DatabaseFeatures):
    """Tables that tenants share have a composite primary key, which Django doesn't see."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        # Grouping by `id` alone implies a row's other columns only if `id` is the whole key.
        self.allows_group_by_selected_pks = not connection.shares_tables
        # The planner's estimates tell how many rows others have (see `gate`).
        self.supports_explaining_query_execution = not connection.shares_database
