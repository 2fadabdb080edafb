"""What Django may assume of a cell's tables."""

from django.db.backends.postgresql import features


class DatabaseFeatures(features.DatabaseFeatures):
    """Tables that tenants share have a composite primary key, which Django doesn't see."""

    @property
    def allows_group_by_selected_pks(self) -> bool:
        """Grouping by `id` alone implies a row's other columns only if `id` is the whole key."""
        return not self.connection.shares_tables
