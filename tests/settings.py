"""Django's settings for the tests: the real ones, on a deployment of the test run's own.

Importing this makes a state folder for three regions on free ports; the `deployment` fixture
starts the clusters in it. Links lead straight to the peers: no WAN proxy is needed.
"""

import json
import os
import tempfile
from pathlib import Path

from infra.fleet.plan import deployment_document, make_plan
from infra.fleet.secrets import load_or_make
from infra.postgres.placement import haven_of, place
from tests.guard import Guard
from tests.ports import free_port_base

TEST_GUARD = Guard()
_state = Path(tempfile.mkdtemp(prefix="meridian-test-"))
_state.chmod(0o711)
TEST_GUARD.removes(_state)
TEST_GUARD.removes(haven_of(_state))
TEST_PLACEMENT = place(_state, os.environ)
TEST_PLAN = make_plan(_state, port_base=free_port_base(), data=TEST_PLACEMENT.data)
(_state / "deployment.json").write_text(
    json.dumps(deployment_document(TEST_PLAN, through_wan=False), indent=2)
)
load_or_make(_state)
os.environ["MERIDIAN_DIR"] = str(_state)
os.environ.pop("MERIDIAN_REGION", None)

from config.settings import *  # noqa: E402, F403

TENANT_APPS = [*TENANT_APPS, "tests.tenants.shop"]  # noqa: F405
INSTALLED_APPS = [*INSTALLED_APPS, "tests.tenants.shop"]  # noqa: F405
