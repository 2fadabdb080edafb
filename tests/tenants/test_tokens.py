"""API tokens and signed contexts: pure, no database."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from uuid import uuid4

from hypothesis import example, given
from hypothesis import strategies as st

from tenants import tokens
from tenants.backend.context import sign_context
from tenants.directory import TenantRecord
from tenants.isolation.tenancy import pads

ACME = TenantRecord(
    id=uuid4(),
    slug="acme",
    cell="eu-shared",
    mode="shared",
    schema="public",
    state="active",
    residency="EU",
    token_generation=1,
    hosts=("acme.localhost",),
)


def test_a_token_is_good_for_its_tenant_only():
    token = tokens.issue(ACME)
    assert tokens.verify(token, ACME)
    assert not tokens.verify(token, replace(ACME, id=uuid4()))


def test_raising_the_generation_revokes_older_tokens():
    assert not tokens.verify(tokens.issue(ACME), replace(ACME, token_generation=2))


def test_no_two_tokens_are_the_same():
    assert tokens.issue(ACME) != tokens.issue(ACME)


@given(st.text())
def test_made_up_tokens_are_refused(text: str):
    assert not tokens.verify(text, ACME)


@given(st.integers(0, 300), st.characters())
@example(0, "\ud800")
@example(60, "\ud800")
def test_a_token_with_one_character_changed_is_refused(at: int, other: str):
    token = tokens.issue(ACME)
    at %= len(token)
    changed = token[:at] + other + token[at + 1 :]
    assert changed == token or not tokens.verify(changed, ACME)


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=200))
def test_two_plain_hashes_over_the_pads_are_the_hmac(key: bytes, message: bytes):
    inner, outer = pads(key)
    inside = hashlib.sha256(inner + message).digest()
    assert hashlib.sha256(outer + inside).digest() == hmac.digest(key, message, "sha256")


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**40))
def test_a_context_says_who_and_until_when_in_the_clear(key: bytes, expiry: int):
    tenant = uuid4()
    who, until, signature = sign_context(key, tenant, expiry).split(".")
    assert (who, int(until), len(signature)) == (str(tenant), expiry, 64)
