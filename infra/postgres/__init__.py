"""PostgreSQL clusters of the local fleet: binaries, account, settings, life cycle."""
