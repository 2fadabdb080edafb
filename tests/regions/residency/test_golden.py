"""Decisions whose answer is known, named by the rule that they test."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from regions.residency import (
    OPERATION_RULES,
    RULES,
    Destination,
    Operation,
    ResidencyDenied,
    Verdict,
    decide,
    parse_policy,
    require,
)

TODAY = date(2026, 11, 23)
IRELAND = Destination("eu-west", "IE", "EU")
GERMANY = Destination("eu-central", "DE", "EU")
VIRGINIA = Destination("us-east", "US", "US")
LONDON = Destination("uk-south", "GB", "UK")
BRAZIL = Destination("br-south", "BR", "BR")
JAPAN = Destination("jp-east", "JP", "JP")
REUNION = Destination("re-1", "RE", "EU")
NOUMEA = Destination("nc-1", "NC", "NC")
NORWAY = Destination("no-1", "NO", "EEA")


def ask(policy, destination, operation=Operation.PLACE, at=TODAY, via=None):
    return decide(parse_policy(policy), operation, destination, at=at, via=via)


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        (Operation.PLACE, "M01"),
        (Operation.PLACE, "R01"),
        (Operation.MOVE, "M01"),
        (Operation.REPLICATE, "P01"),
        (Operation.REPLICATE, "P02"),
        (Operation.FAILOVER, "B05"),
        (Operation.FAILOVER, "B07"),
        (Operation.ROUTE, "R01"),
        (Operation.TASK, "Q02"),
        (Operation.CACHE, "Q05"),
        (Operation.STORE, "Q07"),
        (Operation.LOG, "T01"),
        (Operation.BACKUP, "B01"),
        (Operation.EXPORT, "S04"),
        (Operation.EXPORT, "E06"),
        (Operation.SUPPORT, "S01"),
    ],
)
def test_an_eu_tenant_is_refused_in_the_us_by_the_rule_of_the_operation(operation, rule):
    decision = ask("EU", VIRGINIA, operation)
    assert decision.verdict is Verdict.DENY
    assert rule in decision.rules
    assert not decision.allowed
    assert ask("EU", GERMANY, operation).allowed


def test_every_operation_has_rules_and_every_rule_a_sentence():
    assert set(OPERATION_RULES) == set(Operation)
    for rules in OPERATION_RULES.values():
        assert rules
        assert set(rules) <= set(RULES)


@pytest.mark.parametrize(
    ("policy", "destination", "verdict"),
    [
        ("EU", IRELAND, Verdict.ALLOW),
        ("EU", NORWAY, Verdict.ALLOW),
        ("EU", LONDON, Verdict.DENY),
        ("DE", GERMANY, Verdict.ALLOW),
        ("DE", IRELAND, Verdict.DENY),
        ("DE:JURISDICTION", IRELAND, Verdict.ALLOW),
        ("US", VIRGINIA, Verdict.ALLOW),
        ("US", IRELAND, Verdict.DENY),
        ("GB", LONDON, Verdict.ALLOW),
        ("GB:ADEQUATE", GERMANY, Verdict.ALLOW),
        ("GB:ADEQUATE", BRAZIL, Verdict.DENY),
        ("EU:ADEQUATE", LONDON, Verdict.ALLOW),
        ("EU:ADEQUATE", BRAZIL, Verdict.ALLOW),
        ("NO:ADEQUATE", BRAZIL, Verdict.DENY),
        ("EU:ADEQUATE", JAPAN, Verdict.DENY),
        ("UNRESTRICTED", VIRGINIA, Verdict.ALLOW),
    ],
)
def test_m01_placement_follows_the_mode(policy, destination, verdict):
    assert ask(policy, destination).verdict is verdict


def test_m06_the_adequacy_of_the_uk_ends_on_its_sunset():
    assert ask("EU:ADEQUATE", LONDON, at=date(2031, 12, 26)).allowed
    after = ask("EU:ADEQUATE", LONDON, at=date(2031, 12, 27))
    assert after.verdict is Verdict.DENY
    assert "M06" in after.rules
    assert "2031-12-27" in after.reason


def test_m06_the_day_is_counted_in_utc_whatever_the_zone_of_the_clock():
    midnight = datetime(2031, 12, 27, tzinfo=UTC)
    zone = timezone(timedelta(hours=13))
    assert ask("EU:ADEQUATE", LONDON, at=(midnight - timedelta(seconds=1)).astimezone(zone)).allowed
    assert not ask("EU:ADEQUATE", LONDON, at=midnight.astimezone(zone)).allowed


@pytest.mark.parametrize(
    ("certification", "at", "allowed"),
    [
        ("DPF", TODAY, True),
        ("DPF", date(2023, 7, 9), False),
        ("PRIVACY-SHIELD", date(2020, 7, 15), True),
        ("PRIVACY-SHIELD", date(2020, 7, 16), False),
        ("SAFE-HARBOR", date(2015, 10, 5), True),
        ("SAFE-HARBOR", date(2015, 10, 6), False),
        ("SAFE-HARBOR", TODAY, False),
    ],
)
def test_m06_a_partial_decision_needs_its_certification_while_it_is_in_force(
    certification, at, allowed
):
    certified = Destination("us-east", "US", "US", certified=frozenset({certification}))
    decision = ask("EU:ADEQUATE", certified, at=at)
    assert decision.allowed is allowed
    if allowed:
        assert decision.verdict is Verdict.ALLOW_WITH_AUDIT


def test_m01_safeguards_need_a_contract_and_an_assessment():
    def with_references(*references):
        return Destination("us-east", "US", "US", safeguards=frozenset(references))

    assert not ask("EU:SAFEGUARDED", with_references("SCC:2026-1")).allowed
    both = with_references("SCC:2026-1", "TIA:2026-1")
    assert ask("EU:SAFEGUARDED", both).verdict is Verdict.ALLOW_WITH_AUDIT
    assert not ask("EU:ADEQUATE", both).allowed


def test_m01_no_mode_goes_below_a_localisation_law():
    assert not ask("RU:UNRESTRICTED", GERMANY).allowed
    assert ask("RU:UNRESTRICTED", GERMANY, Operation.EXPORT).allowed
    assert ask("RU:UNRESTRICTED", GERMANY, at=date(2015, 8, 31)).allowed
    assert not ask("CN:UNRESTRICTED", GERMANY, Operation.EXPORT).allowed
    assert not ask("US:UNRESTRICTED", Destination("x", "CN", "CN")).allowed


def test_s01_support_access_in_a_lawful_place_is_audited():
    assert ask("EU", IRELAND, Operation.SUPPORT).verdict is Verdict.ALLOW_WITH_AUDIT


def test_d09_a_region_that_lies_about_its_jurisdiction_is_not_trusted():
    for policy in ("EU", "US", "UNRESTRICTED"):
        decision = ask(policy, Destination("us-east", "US", "EU"))
        assert decision.verdict is Verdict.DENY
        assert "D09" in decision.rules


def test_g01_what_cannot_be_decided_is_refused():
    for at in (None, "yesterday", datetime(2026, 1, 1)):
        decision = ask("EU", IRELAND, at=at)
        assert decision.verdict is Verdict.DENY
        assert "G01" in decision.rules
    assert "G01" in decide(None, Operation.PLACE, IRELAND, at=TODAY).rules
    assert "G01" in decide(parse_policy("EU"), "juggle", IRELAND, at=TODAY).rules
    assert "G01" in decide(parse_policy("EU"), Operation.PLACE, None, at=TODAY).rules


@pytest.mark.parametrize("country", ["XK", "AN", "EU", "DEU", "", "Germany", "SU"])
def test_g02_an_unknown_country_is_denied_to_everybody(country):
    for policy in ("EU", "DE", "EU:ADEQUATE", "UNRESTRICTED"):
        decision = ask(policy, Destination("somewhere", country, "EU"))
        assert decision.verdict is Verdict.DENY
        assert "G02" in decision.rules


@pytest.mark.parametrize(("country", "law"), [("ie", "eu"), ("EL", "EU"), (" GR ", "EEA")])
def test_g02_other_spellings_of_a_country_are_understood(country, law):
    assert ask("EU", Destination("r", country, law)).allowed


def test_g03_reunion_is_under_eu_law_and_new_caledonia_is_not():
    assert ask("EU", REUNION).verdict is Verdict.ALLOW
    assert "G03" in ask("EU", REUNION).rules
    assert ask("EU", NOUMEA).verdict is Verdict.DENY
    assert ask("FR", REUNION).verdict is Verdict.DENY


def test_g09_an_onward_transfer_needs_a_basis_of_its_own():
    assert ask("EU:ADEQUATE", BRAZIL).allowed
    onward = ask("EU:ADEQUATE", BRAZIL, via=LONDON)
    assert onward.verdict is Verdict.DENY
    assert "G09" in onward.rules
    assert ask("EU:ADEQUATE", GERMANY, via=LONDON).allowed
    assert not ask("EU:ADEQUATE", BRAZIL, via=Destination("x", "XK", "XK")).allowed


def test_a_refusal_is_raised_with_rule_sentence_and_decision():
    with pytest.raises(ResidencyDenied, match=r"M01.*us-east.*EU law") as refusal:
        require(parse_policy("EU"), Operation.MOVE, VIRGINIA, at=TODAY)
    assert refusal.value.decision is not None
    assert refusal.value.decision.references
    assert require(parse_policy("EU"), Operation.MOVE, IRELAND, at=TODAY).allowed


def test_a_document_is_plain_json_values():
    document = ask("EU", VIRGINIA).as_document()
    assert document["verdict"] == "deny"
    assert document["allowed"] is False
    assert document["data_version"] != "unknown"
