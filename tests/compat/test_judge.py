"""The judge of compatibility runs: pure."""

from __future__ import annotations

from tests.compat.judge import Exclusion, judge

PASSED, FAILED = ({"outcome": outcome, "why": "so"} for outcome in ("passed", "failed"))
EXCLUDED = Exclusion("app", "t.py::Keys::*", "expects key 1")


def test_a_test_that_fails_only_inside_a_tenant_is_a_difference():
    verdict = judge("app", "shared", {"a": PASSED, "b": PASSED}, {"a": PASSED, "b": FAILED}, [])
    assert verdict.differences == ("b failed: so",)
    assert (verdict.passed, verdict.same) == (1, False)


def test_a_test_that_did_not_run_inside_a_tenant_is_a_difference():
    verdict = judge("app", "shared", {"a": PASSED}, {}, [])
    assert verdict.differences == ("a missing: it did not run",)


def test_what_fails_on_plain_django_does_not_count():
    verdict = judge("app", "shared", {"a": FAILED, "b": PASSED}, {"a": FAILED, "b": PASSED}, [])
    assert (verdict.counted, verdict.same) == (1, True)


def test_a_run_without_tests_proves_nothing():
    assert not judge("app", "shared", {}, {}, []).same


def test_an_exclusion_covers_its_tests_in_its_suite_only():
    plain, inside = {"t.py::Keys::one": PASSED}, {"t.py::Keys::one": FAILED}
    assert judge("app", "shared", plain, inside, [EXCLUDED]).same
    assert not judge("other", "shared", plain, inside, [EXCLUDED]).same


def test_an_exclusion_that_nothing_needs_is_wrong():
    plain = {"t.py::Keys::one": PASSED}
    verdict = judge("app", "shared", plain, plain, [EXCLUDED])
    assert verdict.needless == ("t.py::Keys::* needs no exclusion",)
    assert not verdict.same
