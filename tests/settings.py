"""Django's settings for the tests: the real ones, on three regions of the test run's own."""

from testkit.grounds import grounds

_GROUNDS = grounds(regions=3)
TEST_GUARD = _GROUNDS.guard
TEST_PLAN = _GROUNDS.plan

from config.settings import *  # noqa: E402, F403

TENANT_APPS = [*TENANT_APPS, "tests.tenants.shop"]  # noqa: F405
# The pages of a region's processes are tested, too.
INSTALLED_APPS = [*INSTALLED_APPS, "ninja", "tests.tenants.shop"]  # noqa: F405
# Accounts of tests are made by the hundred: a hash that is slow on purpose protects none of them.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A server is not taken for a lost one because the machine is busy.
DATABASES = {
    alias: {**entry, "OPTIONS": {**entry["OPTIONS"], "connect_timeout": 30}}
    for alias, entry in DATABASES.items()  # noqa: F405
}
