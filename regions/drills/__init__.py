"""Drills: something is broken on purpose, and what comes of it is measured against objectives."""
