"""The measured app: one table, one view that reads it, one that touches no database."""
