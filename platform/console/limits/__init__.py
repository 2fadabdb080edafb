"""Limits and usage: what a tenant may use, what it uses, and the form that changes the first."""
