"""Plan and override make the limits in force: for whatever values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.directory import parse_directory
from tenants.errors import InvalidRequest
from tenants.limits.values import (
    NAMES,
    UNLIMITED,
    changed,
    check,
    document,
    read_changes,
    resolve,
)
from tests.gateway.maps import tenant

VALUES = st.integers(min_value=10, max_value=2**53)
LIMITS = st.dictionaries(st.sampled_from(NAMES), VALUES | st.none())


@given(plan=LIMITS, override=LIMITS)
def test_an_override_decides_alone_over_the_names_it_gives(plan, override):
    limits = document(resolve(plan, override))
    for name in NAMES:
        assert limits[name] == (override[name] if name in override else plan.get(name))


@given(plan=LIMITS)
def test_a_tenant_without_any_limit_has_the_one_value_that_the_request_path_asks_for(plan):
    assert (resolve(plan, {}) is UNLIMITED) == (not any(plan.values()))
    assert resolve(plan, dict.fromkeys(NAMES)) is UNLIMITED


@given(plan=LIMITS, extra=st.dictionaries(st.text(min_size=1), st.integers() | st.text()))
def test_names_of_a_newer_version_are_left_out(plan, extra):
    unknown = {name: value for name, value in extra.items() if name not in NAMES}
    assert resolve({**plan, **unknown}, unknown) == resolve(plan, {})


@given(before=LIMITS, changes=LIMITS)
def test_what_is_changed_back_to_the_plan_is_no_override(before, changes):
    after = changed(changed(before, changes), dict.fromkeys(changes, "plan"))
    assert after == {name: value for name, value in before.items() if name not in changes}


@given(name=st.sampled_from(NAMES), value=st.integers(max_value=0) | st.floats() | st.booleans())
def test_what_is_no_limit_is_refused_wherever_it_comes_from(name, value):
    with pytest.raises(InvalidRequest):
        check({name: value})
    with pytest.raises(ValueError, match=name):
        resolve({name: value}, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("unlimited", None), ("plan", "plan"), ("2KiB", 2048), ("1 GiB", 1 << 30)],
)
def test_people_write_limits(text, value):
    assert read_changes({"bytes": text}) == {"bytes": value}


@pytest.mark.parametrize(
    "wrong", [{"rows": "5KiB"}, {"rows": "-1"}, {"rows": "0"}, {"rows": ""}, {"speed": "5"},
              {"statement_ms": "9"}, {"rows": str(2**53 + 1)}],
)  # fmt: skip
def test_what_people_write_wrong_is_refused(wrong):
    with pytest.raises(InvalidRequest):
        read_changes(wrong)


def test_a_directory_from_before_there_were_plans_limits_nobody():
    old = parse_directory({"version": 1, "tenants": [tenant("acme", "eu")]})
    assert old.by_slug["acme"].limits is UNLIMITED


def test_the_directory_resolves_each_tenants_limits():
    made = parse_directory(
        {
            "version": 1,
            "plans": {"small": {"rows": 5, "bytes": 7}},
            "tenants": [
                tenant("acme", "eu", plan="small", limits={"rows": None, "tasks": 2}),
                tenant("beta", "eu", plan="small", limits={}),
                tenant("gone", "eu", plan="unknown", limits={}),
            ],
        }
    ).by_slug
    assert made["acme"].limits == resolve({"bytes": 7, "tasks": 2}, {})
    assert made["beta"].limits == resolve({"rows": 5, "bytes": 7}, {})
    assert made["gone"].limits is UNLIMITED
