"""Django's settings of the benchmarks: the real ones, with the measured app among the tenants'."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parent / "peers"))

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS, TENANT_APPS

TENANT_APPS = [*TENANT_APPS, "shop"]
INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
MERIDIAN_TENANT_URLCONF = "shop.urls"
