"""Django's settings for the fault suite: the real ones, on three regions of its own, with the WAN's
links between them."""

from testkit.grounds import grounds

GROUNDS = grounds(regions=3, through_wan=True)

from testkit.settings import *  # noqa: E402, F403

# What clients don't use need not be made in every region.
TENANT_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "tests.faults.board"]
INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.board"]  # noqa: F405
