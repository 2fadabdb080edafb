"""Settings of one child: the suite's own project, on plain Django or on the platform."""

import os

from suites import SUITES

_suite = SUITES[os.environ["COMPAT_SUITE"]]

if os.environ["COMPAT_MODE"] == "plain":
    INSTALLED_APPS = _suite.installed
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": os.environ["COMPAT_USER"],
            "PASSWORD": os.environ["COMPAT_PASSWORD"],
            "HOST": "127.0.0.1",
            "PORT": os.environ["COMPAT_PORT"],
            "TEST": {"NAME": f"plain_{_suite.name}"},
        }
    }
else:
    from config.settings import *  # noqa: F403

    TENANT_APPS = _suite.installed
    SHARED_APPS = [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        *_suite.user_apps,
        "regions",
        "tenants",
    ]
    INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
    SESSION_ENGINE = "django.contrib.sessions.backends.db"
    MERIDIAN_EXTENSIONS = list(_suite.extensions)
    AUTH_PASSWORD_VALIDATORS: list[dict[str, str]] = []
    # As a project without a word about them has it; and there is no Valkey.
    LOGIN_URL = "/accounts/login/"
    CACHES = {
        "default": {
            "BACKEND": "gateway.cache.LocMemCache",
            "KEY_FUNCTION": "gateway.cache.tenant_key",
        }
    }
    del LOGGING  # noqa: F821

globals().update(_suite.django_settings())
