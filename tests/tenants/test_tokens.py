"""API tokens and signed contexts: pure, no database."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from hashlib import sha384
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenants import tokens
from tenants.backend.context import sign_context
from tenants.directory import TenantRecord

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


KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS, st.uuids(), st.integers(10**9, 10**10 - 1))
def test_a_context_says_who_and_until_when_in_the_clear(key: bytes, tenant: UUID, expiry: int):
    who, until, signature = sign_context(key, tenant, expiry).split(".")
    assert (who, int(until), len(signature)) == (str(tenant), expiry, 64)
    assert b64decode(signature) == sha384(f"{tenant}.{expiry}.".encode() + key).digest()


@given(st.binary(max_size=80), st.integers(-1, 10**12))
@example(b"k" * 32, 10**10)
@example(b"k" * 32, 10**9 - 1)
@example(b"k" * 31, 10**9)
def test_only_what_has_its_length_is_signed(key: bytes, expiry: int):
    """On that, and on one key for each cell, it rests that one hash is a signature."""
    if len(key) == 32 and len(str(expiry)) == 10:
        return
    with pytest.raises(ValueError, match="32 bytes"):
        sign_context(key, uuid4(), expiry)
