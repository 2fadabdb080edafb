"""What holds for every policy, operation, place and day."""

from dataclasses import replace
from datetime import date

from hypothesis import assume, given
from hypothesis import strategies as st

from regions.residency import (
    Destination,
    InvalidPolicy,
    Operation,
    dataset,
    decide,
    lawful_regions,
    parse_policy,
)

DATA = dataset.current()
LAX_TO_STRICT = ("UNRESTRICTED", "SAFEGUARDED", "ADEQUATE", "JURISDICTION", "COUNTRY")
INTERESTING = ["IE", "DE", "NO", "GB", "US", "CH", "BR", "RE", "NC", "JP", "RU", "CN", "CA", "PR"]

countries = st.one_of(st.sampled_from(INTERESTING), st.sampled_from(sorted(DATA.countries)))
homes = st.one_of(countries, st.just("EU"))
days = st.dates(date(1999, 1, 1), date(2040, 1, 1))
operations = st.sampled_from(Operation)
extras = st.frozensets(st.sampled_from(["DPF", "PIPEDA", "APPI", "PRIVACY-SHIELD"]))
references = st.frozensets(st.sampled_from(["SCC:1", "TIA:1"]))


@st.composite
def destinations(draw):
    country = draw(countries)
    law = draw(st.sampled_from(sorted(DATA.laws_ever(country))))
    return Destination(f"in-{country}", country, law, draw(extras), draw(references))


@st.composite
def policies(draw):
    text = draw(homes) + ":" + draw(st.sampled_from(LAX_TO_STRICT))
    try:
        return parse_policy(text)
    except InvalidPolicy:
        return parse_policy("UNRESTRICTED")


@given(home=homes, operation=operations, destination=destinations(), day=days)
def test_g04_tightening_never_turns_a_refusal_into_a_permission(home, operation, destination, day):
    answers = []
    for suffix in LAX_TO_STRICT:
        try:
            policy = parse_policy(f"{home}:{suffix}")
        except InvalidPolicy:
            continue
        answers.append(decide(policy, operation, destination, at=day).allowed)
    assert answers == sorted(answers, reverse=True)


@given(
    policy=policies(), operation=operations, destination=destinations(), day=days, removed=countries
)
def test_g04_removing_a_country_from_the_adequacy_lists_never_adds_a_permission(
    policy, operation, destination, day, removed
):
    fewer = replace(DATA, adequacy=tuple(a for a in DATA.adequacy if a.country != removed))
    before = decide(policy, operation, destination, at=day)
    after = decide(policy, operation, destination, at=day, data=fewer)
    assert before.allowed or not after.allowed


@given(policy=policies(), operation=operations, destination=destinations(), day=days)
def test_g04_removing_a_country_from_the_known_ones_denies_it(policy, operation, destination, day):
    fewer = replace(DATA, countries=DATA.countries - {destination.country})
    assert not decide(policy, operation, destination, at=day, data=fewer).allowed


@given(
    policy=policies(),
    operation=operations,
    destination=destinations(),
    day=days,
    via=destinations(),
)
def test_g09_a_stop_on_the_way_never_adds_a_permission(policy, operation, destination, day, via):
    direct = decide(policy, operation, destination, at=day)
    assert direct.allowed or not decide(policy, operation, destination, at=day, via=via).allowed


@given(policy=policies(), operation=operations, destination=destinations(), day=days)
def test_the_same_question_gets_the_same_answer(policy, operation, destination, day):
    first = decide(policy, operation, destination, at=day)
    assert first == decide(policy, operation, destination, at=day)
    assert first.rules
    assert first.reason.endswith(".")
    assert "\n" not in first.reason


@given(policy=policies(), operation=operations, code=st.text(max_size=4), day=days)
def test_g02_no_text_that_is_not_a_country_is_ever_allowed(policy, operation, code, day):
    assume(DATA.country(code) is None)
    assert not decide(policy, operation, Destination("r", code, "EU"), at=day).allowed


@given(st.lists(policies(), min_size=1, max_size=4), operations, days)
def test_a_cell_is_lawful_only_where_all_of_its_tenants_are(together, operation, day):
    places = [Destination(f"in-{code}", code, DATA.law_of(code, day)) for code in INTERESTING]
    everybody = set(lawful_regions(together, operation, places, day))
    each = [set(lawful_regions(policy, operation, places, day)) for policy in together]
    assert everybody == set.intersection(*each)
