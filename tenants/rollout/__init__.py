"""`manage.py cell migrate`: plan once, apply to many tenants, remember how far each has come."""
