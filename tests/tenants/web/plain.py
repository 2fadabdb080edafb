"""Settings of plain Django on a database of its own: what tenants' requests are compared with."""

import json
import os

_DATABASE = json.loads(os.environ["PLAIN_DATABASE"])
SECRET_KEY = "plain"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "desk"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 600,
        "ATOMIC_REQUESTS": True,
        **_DATABASE,
    }
}
ROOT_URLCONF = "tests.tenants.web.plain_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
