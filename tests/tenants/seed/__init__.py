"""Apps whose first migrations and `post_migrate` handlers write rows."""
