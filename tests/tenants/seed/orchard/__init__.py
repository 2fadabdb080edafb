"""A tenant app that brings rows."""
