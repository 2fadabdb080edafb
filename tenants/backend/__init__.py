"""Django's PostgreSQL backend, with the tenant in the same network message as each statement."""
