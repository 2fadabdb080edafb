"""django-tenants' registry, as its tutorial makes it."""
