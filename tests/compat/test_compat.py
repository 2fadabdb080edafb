"""A part of one well-known app's own suite; `make compat` runs all of them."""

from __future__ import annotations

import pytest

from tests.compat.run import MODES, run
from tests.compat.suites import SUITES


@pytest.mark.postgres
def test_an_apps_own_tests_pass_inside_a_tenant_as_on_plain_django():
    verdicts, _ = run(SUITES["reversion"], only=("-k", "test_models"))
    found = {mode: (*verdicts[mode].differences, *verdicts[mode].needless) for mode in MODES}
    assert found == dict.fromkeys(MODES, ())
    assert min(verdict.passed for verdict in verdicts.values()) > 30
