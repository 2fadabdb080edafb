"""The registry's rows in the console: read-only, except for operators and groups."""
