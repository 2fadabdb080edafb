"""The tests' settings for other processes, which work on the deployment that a test run has."""

from config.settings import *  # noqa: F403

TENANT_APPS = [*TENANT_APPS, "tests.tenants.shop"]  # noqa: F405
INSTALLED_APPS = [*INSTALLED_APPS, "tests.tenants.shop"]  # noqa: F405
