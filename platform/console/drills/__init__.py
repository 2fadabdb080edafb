"""Drills from the console: preview, start, watch, halt, read the report; as pages and as JSON."""
