"""Tenants' files: each tenant's own folder or prefix, in the home region of its cell."""
