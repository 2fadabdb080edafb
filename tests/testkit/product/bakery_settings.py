from testkit.settings import *  # noqa: F403

TENANT_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "bakery"]
INSTALLED_APPS = [*INSTALLED_APPS, "bakery"]  # noqa: F405
MERIDIAN_TENANT_URLCONF = "bakery.urls"
