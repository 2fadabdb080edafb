"""Nothing but a genuine context is taken for one, however close to it."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regions.deployment import Deployment
from tests.tenants.attacks.conftest import Pair, genuine

NOT_GENUINE = "MTN01"
CLAIM = 47
Session = psycopg.Connection[Any]


@pytest.fixture
def session(shared_pair: Pair, raw) -> Session:
    opened: Session = raw(shared_pair[0])
    return opened


def answer(session: Session, context: str) -> str | None:
    """The tenant that the database sees, or the SQLSTATE of its refusal."""
    literal = psycopg.sql.Literal(context)
    try:
        session.execute(psycopg.sql.SQL("SET meridian.context = {}").format(literal))
        return str(session.execute("SELECT tenancy.current_tenant()").fetchone()[0])
    except psycopg.Error as error:
        return error.sqlstate


def extended(claim: str, signature: str) -> str:
    """As if a signature were the hash's whole state: the padding of what was signed, then more."""
    signed = len(claim) + 1 + 32
    padding = b"\x80" + bytes(128 - signed - 17) + (8 * signed).to_bytes(16, "big")
    behind = padding.replace(b"\0", b"0").decode("latin-1") + ".9999999999"
    return f"{claim}.{signature}{behind}"


FORGERIES: dict[str, Callable[[str, str], str]] = {
    "digits behind the expiry": lambda claim, sign: f"{claim}9.{sign}",
    "many digits behind the expiry": lambda claim, sign: f"{claim}{'9' * 300}.{sign}",
    "digits and the signature twice": lambda claim, sign: f"{claim}.{sign}.9999999999.{sign}",
    "digits behind the signature": lambda claim, sign: f"{claim}.{sign}9",
    "a point behind the signature": lambda claim, sign: f"{claim}.{sign}.",
    "more behind another point": lambda claim, sign: f"{claim}.{sign}.9999999999",
    "the id without its dashes": lambda claim, sign: f"{claim.replace('-', '')}.{sign}",
    "one digit less": lambda claim, sign: f"{claim[:-1]}.{sign}",
    "the expiry before the id": lambda claim, sign: f"{claim[37:]}.{claim[:36]}.{sign}",
    "the hash's padding and more": extended,
    "another point": lambda claim, sign: f"{claim},{sign}",
    "no point": lambda claim, sign: f"{claim}{sign}",
    "a wider character for the point": lambda claim, sign: f"{claim}\uff0e{sign}",
    "the signature's beginning": lambda claim, sign: f"{claim}.{sign[:43]}",
    "all but its last character": lambda claim, sign: f"{claim}.{sign[:-1]}",
    "its end": lambda claim, sign: f"{claim}.{sign[1:]}",
    "an empty signature": lambda claim, sign: f"{claim}.",
    "only the claim": lambda claim, sign: claim,
    "only the signature": lambda claim, sign: sign,
    "the claim last": lambda claim, sign: f"{sign}.{claim}",
    "a joker": lambda claim, sign: f"{claim}.%",
    "jokers": lambda claim, sign: f"{claim}.{'_' * 64}",
    "in hexadecimal": lambda claim, sign: f"{claim}.{b64decode(sign).hex()}",
    "cut, then encoded": lambda claim, sign: f"{claim}.{b64encode(b64decode(sign)[:47]).decode()}",
    "wrapped": lambda claim, sign: f"{claim}.{sign[:60]}\n{sign[60:]}",
    "other case": lambda claim, sign: f"{claim.upper()}.{sign.upper()}",
    "spaces around": lambda claim, sign: f" {claim}.{sign} ",
    "a zero-width space": lambda claim, sign: f"{claim[:36]}\u200b{claim[36:]}.{sign}",
    "digits of another script": lambda claim, sign: claim[:37] + "\u0669" * 10 + f".{sign}",
    "letters of four bytes": lambda claim, sign: "\U0001d7d7" * CLAIM + f".{sign}",
    "half a letter where the claim ends": lambda claim, sign: f"{claim[:-1]}é.{sign}",
    "very long": lambda claim, sign: f"{claim}.{sign}" * 20_000,
    "very long and wide": lambda claim, sign: "\U0001d7d7" * 500_000,
    "very many points": lambda claim, sign: "." * 1_000_000,
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_is_nearly_a_context_raises(
    shared_pair: Pair, raw, deployment: Deployment, forgery: str
):
    claim, _, signature = genuine(deployment, shared_pair[0]).rpartition(".")
    assert answer(raw(shared_pair[0]), FORGERIES[forgery](claim, signature)) == NOT_GENUINE


def test_no_other_signature_is_taken(pair: Pair, raw, deployment: Deployment):
    mine, other = pair
    claim = genuine(deployment, mine)[:CLAIM].encode()
    key, control = deployment.context_key(mine.cell), deployment.context_key("control")
    signatures = {
        "another cell's key": hashlib.sha384(claim + b"." + control),
        "no key": hashlib.sha384(claim + b"."),
        "an empty key": hashlib.sha384(claim + b"." + bytes(32)),
        "the key in front": hashlib.sha384(key + claim),
        "without the point": hashlib.sha384(claim + key),
        "an earlier version's": hmac.new(key, claim, "sha256"),
        "an HMAC with this hash": hmac.new(key, claim, "sha384"),
        "this hash uncut": hashlib.sha512(claim + b"." + key),
        "the locks' key": hashlib.sha384(
            claim + b"." + hmac.digest(key, b"advisory locks", "sha256")
        ),
    }
    session = raw(mine)
    for title, signature in signatures.items():
        for text in (signature.hexdigest(), b64encode(signature.digest()).decode()):
            assert answer(session, f"{claim.decode()}.{text}") == NOT_GENUINE, title
    assert answer(session, genuine(deployment, mine)) == str(mine.id)
    if mine.cell != other.cell:
        assert answer(session, genuine(deployment, other)) == NOT_GENUINE


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
EDITS = st.tuples(st.integers(0, 112), st.integers(0, 112), st.text(CHARACTERS, max_size=3))


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(edits=st.lists(EDITS, min_size=1, max_size=3), swap=st.booleans())
def test_no_mutation_of_a_context_but_itself_is_genuine(
    shared_pair: Pair, deployment: Deployment, session: Session, edits, swap: bool
):
    context = changed = genuine(deployment, shared_pair[0])
    if swap:
        changed = changed[:CLAIM][::-1] + changed[CLAIM:]
    for start, length, put in edits:
        changed = changed[:start] + put + changed[start + length % 4 :]
    expected = str(shared_pair[0].id) if changed == context else NOT_GENUINE
    assert answer(session, changed) == (expected if changed else "None")
