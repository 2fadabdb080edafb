"""The pytest plugin as a product team uses it: a test run of its own, with an app of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.fleet.state import REPOSITORY

PRODUCT = Path(__file__).parent / "product"
INI = f"""
[pytest]
DJANGO_SETTINGS_MODULE = bakery_settings
pythonpath = . {REPOSITORY} {REPOSITORY / "platform"}
addopts = --strict-markers -p no:cacheprovider
filterwarnings = error
"""


@pytest.fixture
def product(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("MERIDIAN_DIR", "DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(PRODUCT, pytester.path, dirs_exist_ok=True)
    (pytester.path / "ovens.py").rename(pytester.path / "test_ovens.py")
    pytester.makeconftest('pytest_plugins = ["testkit.plugin"]')
    pytester.makeini(INI)
    return pytester


@pytest.mark.postgres
def test_a_products_tests_run_in_all_modes(product):
    result = product.runpytest_subprocess("-q", timeout=580)
    # In all modes nine functions, two of them twice; in two modes one; in one mode two, of which
    # one ends badly.
    result.assert_outcomes(passed=3 * 11 + 2 + 2, errors=1)
    result.stdout.fnmatch_lines(["ERROR *what_a_commit_would_refuse*"])


def test_modes_can_be_chosen(product):
    chosen = product.runpytest_subprocess(
        "--collect-only", "-q", "--tenant-modes=shared,schema", "-k", "test_in_one or two_tenants"
    )
    tests = [line for line in chosen.outlines if "::" in line]
    assert tests == [
        "test_ovens.py::test_in_one_mode[schema]",
        "test_ovens.py::test_two_tenants[shared]",
        "test_ovens.py::test_two_tenants[schema]",
    ]


def test_a_mode_that_is_none_is_said(product):
    product.makepyfile(
        "import pytest\n@pytest.mark.tenant_modes('cloud')\ndef test_it(tenant): pass\n"
    )
    result = product.runpytest_subprocess("--collect-only")
    assert result.ret != 0
    assert "'cloud'. Modes: shared, schema, dedicated." in result.stdout.str() + result.stderr.str()
