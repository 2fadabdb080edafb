"""Settings of django-tenants: the same, with its middleware first, as its documentation says."""

from peer_plain import *  # noqa: F403
from peer_plain import APPS, DATABASES, MIDDLEWARE

SHARED_APPS = ["django_tenants", "customers", *APPS[:-1]]
TENANT_APPS = APPS
INSTALLED_APPS = [*SHARED_APPS, "shop"]
TENANT_MODEL = "customers.Client"
TENANT_DOMAIN_MODEL = "customers.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES = {"default": {**DATABASES["default"], "ENGINE": "django_tenants.postgresql_backend"}}
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware", *MIDDLEWARE]
