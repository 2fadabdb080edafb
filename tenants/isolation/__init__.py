"""How tenants are kept apart: one module a tenancy mode, the same models in all of them."""
