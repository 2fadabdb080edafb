"""Policies as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions.residency import InvalidPolicy, Mode, dataset, default_policy, parse_policy
from regions.residency.policies import SUFFIXES

COUNTRIES = sorted(dataset.current().countries)


@pytest.mark.parametrize(
    ("text", "mode", "home", "canonical"),
    [
        ("EU", Mode.STRICT_JURISDICTION, "EU", "EU"),
        ("eea", Mode.STRICT_JURISDICTION, "EU", "EU"),
        ("DE", Mode.STRICT_IN_COUNTRY, "DE", "DE"),
        ("de:country", Mode.STRICT_IN_COUNTRY, "DE", "DE"),
        ("DE:JURISDICTION", Mode.STRICT_JURISDICTION, "DE", "DE:JURISDICTION"),
        ("EU:ADEQUATE", Mode.ADEQUATE, "EU", "EU:ADEQUATE"),
        ("EU:SAFEGUARDED", Mode.SAFEGUARDED, "EU", "EU:SAFEGUARDED"),
        ("US", Mode.STRICT_IN_COUNTRY, "US", "US"),
        ("UK", Mode.STRICT_IN_COUNTRY, "GB", "GB"),
        ("EL", Mode.STRICT_IN_COUNTRY, "GR", "GR"),
        ("UNRESTRICTED", Mode.UNRESTRICTED, "", "UNRESTRICTED"),
    ],
)
def test_a_text_names_a_mode_and_a_home(text, mode, home, canonical):
    policy = parse_policy(text)
    assert (policy.mode, policy.home, str(policy)) == (mode, home, canonical)


@pytest.mark.parametrize(
    "text", ["", ":", "XX", "XK", "AN", "DEU", "EU:", "EU:COUNTRY", "DE:FOO", "US:ADEQUATE", "E U"]
)
def test_another_text_is_refused_with_what_could_be_written(text):
    with pytest.raises(InvalidPolicy, match=r"DE|COUNTRY|US") as refusal:
        parse_policy(text)
    assert "\n" not in str(refusal.value)


@given(
    home=st.sampled_from([*COUNTRIES, "EU", "EEA", "UK", "EL"]),
    suffix=st.sampled_from(["", *(f":{name}" for name in SUFFIXES)]),
)
def test_every_policy_reads_back_from_its_own_text(home, suffix):
    try:
        policy = parse_policy(home + suffix)
    except InvalidPolicy:
        return
    assert parse_policy(str(policy)) == policy


@pytest.mark.parametrize(
    ("country", "expected"),
    [("IE", "EU"), ("NO", "EU"), ("RE", "EU"), ("NC", "NC"), ("US", "US"), ("uk", "GB")],
)
def test_a_tenant_that_chose_nothing_stays_under_the_law_of_its_home(country, expected):
    assert default_policy(country) == expected


def test_an_unknown_home_has_no_default():
    with pytest.raises(InvalidPolicy, match="XK"):
        default_policy("XK")


@given(st.sampled_from(COUNTRIES))
def test_every_country_has_a_default_that_parses(country):
    assert str(parse_policy(default_policy(country))) == default_policy(country)
