"""What onboarding offers: only lawful places, and reasons for the others."""

from datetime import UTC, datetime
from pathlib import Path

from console.onboarding.choices import lawful_cells, policy_choices, verdicts
from regions.deployment import Endpoint, RegionSite
from regions.residency import parse_policy
from regions.topology import CellSpec, TenancyMode, WritePolicy

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NOWHERE = Endpoint("127.0.0.1", 1)
SITES = [
    RegionSite(name, country, law, node, NOWHERE, NOWHERE, NOWHERE, Path())
    for node, (name, country, law) in enumerate(
        [("us-east", "US", "US"), ("eu-west", "IE", "EU"), ("eu-central", "DE", "EU")], start=1
    )
]


def cell(name: str, mode: TenancyMode, *regions: str) -> CellSpec:
    return CellSpec(name, mode, WritePolicy.ACTIVE_PASSIVE, regions)


def test_an_eu_customer_may_not_live_in_the_us_and_is_told_the_rule() -> None:
    judged = verdicts(parse_policy("EU"), SITES, NOW)
    assert [verdict.region for verdict in judged if verdict.lawful] == ["eu-west", "eu-central"]
    refused = judged[-1]
    assert refused.region == "us-east"
    assert refused.decision.rules
    assert refused.decision.reason


def test_a_customer_pinned_to_a_country_stays_in_it() -> None:
    judged = verdicts(parse_policy("DE"), SITES, NOW)
    assert [verdict.region for verdict in judged if verdict.lawful] == ["eu-central"]


def test_a_cell_with_one_unlawful_region_is_not_offered() -> None:
    judged = verdicts(parse_policy("EU"), SITES, NOW)
    cells = [
        cell("eu", TenancyMode.SHARED, "eu-west", "eu-central"),
        cell("mixed", TenancyMode.SHARED, "eu-west", "us-east"),
        cell("schemas", TenancyMode.SCHEMA, "eu-west"),
    ]
    offered = lawful_cells(cells, judged, mode="shared", taken={})
    assert [spec.name for spec in offered] == ["eu"]


def test_a_dedicated_cell_with_a_tenant_is_not_offered() -> None:
    judged = verdicts(parse_policy("EU"), SITES, NOW)
    cells = [
        cell("one", TenancyMode.DEDICATED, "eu-west"),
        cell("two", TenancyMode.DEDICATED, "eu-west"),
    ]
    offered = lawful_cells(cells, judged, mode="dedicated", taken={"one": 1})
    assert [spec.name for spec in offered] == ["two"]


def test_every_policy_that_is_offered_can_be_parsed() -> None:
    values = [value for _, group in policy_choices(SITES) for value, _ in group]
    assert {"EU", "US", "DE", "IE", "EU:ADEQUATE", "UNRESTRICTED"} <= set(values)
    for value in values:
        assert str(parse_policy(value)) == value
