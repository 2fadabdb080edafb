"""Who may take over, and where a request may go."""

from datetime import date

from regions.residency import (
    Destination,
    Operation,
    Verdict,
    failover_candidates,
    lawful_regions,
    parse_policy,
    route,
)

TODAY = date(2026, 11, 23)
EU = parse_policy("EU")
IRELAND = Destination("eu-west", "IE", "EU")
GERMANY = Destination("eu-central", "DE", "EU")
VIRGINIA = Destination("us-east", "US", "US")
ALL = (VIRGINIA, GERMANY, IRELAND)


def test_lawful_regions_keep_the_order_given():
    assert lawful_regions(EU, Operation.PLACE, ALL, TODAY) == ("eu-central", "eu-west")


def test_b05_an_unlawful_region_is_never_a_candidate():
    found = failover_candidates(EU, ALL, usable={"us-east", "eu-west"}, at=TODAY)
    assert found.regions == ("eu-west",)
    assert found.decision.allowed


def test_b06_with_every_lawful_region_down_nobody_is_promoted():
    found = failover_candidates(EU, ALL, usable={"us-east"}, at=TODAY)
    assert found.regions == ()
    assert found.decision.verdict is Verdict.DENY_UNAVAILABLE
    assert "B06" in found.decision.rules


def test_b07_with_no_lawful_target_the_failover_is_refused():
    found = failover_candidates(EU, [VIRGINIA], usable={"us-east"}, at=TODAY)
    assert found.regions == ()
    assert found.decision.verdict is Verdict.DENY
    assert "B07" in found.decision.rules
    assert not failover_candidates(EU, [], usable={"us-east"}, at=TODAY).decision.allowed


def test_r01_a_request_is_served_here_sent_elsewhere_or_refused():
    def answer(policy, usable):
        return route(parse_policy(policy), VIRGINIA, ALL, usable=usable, at=TODAY)

    assert answer("US", {"us-east"}).verdict is Verdict.ALLOW
    elsewhere = answer("EU", {"us-east", "eu-west"})
    assert (elsewhere.verdict, elsewhere.redirect_to) == (Verdict.REDIRECT, "eu-west")
    assert answer("EU", {"us-east"}).verdict is Verdict.DENY_UNAVAILABLE
    assert answer("JP", {"us-east"}).verdict is Verdict.DENY
