"""Runs of `cell migrate` in the console."""
