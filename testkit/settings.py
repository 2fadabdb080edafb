"""The real settings, on a deployment of the test run's own. Begin your tests' settings with

from testkit.settings import *
"""

from testkit.grounds import grounds

grounds()

from config.settings import *  # noqa: E402, F403

# What a test run has no servers for. Real ones: the fixture `valkeys`, and the usual settings.
CACHES = {
    "default": {
        "BACKEND": "gateway.cache.LocMemCache",
        "KEY_FUNCTION": "gateway.cache.tenant_key",
    }
}
CELERY_TASK_ALWAYS_EAGER = CELERY_TASK_EAGER_PROPAGATES = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A server is not taken for a lost one because the machine is busy.
DATABASES = {
    alias: {**entry, "OPTIONS": {**entry["OPTIONS"], "connect_timeout": 30}}
    for alias, entry in DATABASES.items()  # noqa: F405
}
