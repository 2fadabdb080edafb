"""What was signed for one tenant is worthless under another, and outside of every scope."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import signing
from django.test import override_settings

from tenants.context import tenant_scope
from tenants.directory import TenantRecord


def tenant(slug: str) -> TenantRecord:
    return TenantRecord(uuid4(), slug, "eu", "shared", "public", "active", "EU", 1, (slug,))


ACME, GLOBEX = tenant("acme"), tenant("globex")
OTHERS = [(ACME, GLOBEX), (ACME, None), (None, ACME)]


@pytest.mark.parametrize(("signed_for", "used_under"), OTHERS)
def test_a_signed_value_verifies_for_its_tenant_only(signed_for, used_under):
    with tenant_scope(signed_for):
        value = signing.dumps({"user": 1}, salt="invite")
        stamped = signing.TimestampSigner().sign("x")
        assert signing.loads(value, salt="invite") == {"user": 1}
    with tenant_scope(used_under):
        with pytest.raises(signing.BadSignature):
            signing.loads(value, salt="invite")
        with pytest.raises(signing.BadSignature):
            signing.TimestampSigner().unsign(stamped)


@pytest.mark.parametrize(("signed_for", "used_under"), OTHERS)
def test_a_password_reset_token_is_good_for_its_tenant_only(signed_for, used_under):
    """Even for an account that is the same to the last byte, as a copied tenant's are."""
    generator, account = PasswordResetTokenGenerator(), User(pk=1, password="same")
    with tenant_scope(signed_for):
        token = generator.make_token(account)
        assert generator.check_token(account, token)
    with tenant_scope(used_under):
        assert not generator.check_token(account, token)


def test_a_key_that_is_being_replaced_still_verifies_for_its_tenant():
    with override_settings(SECRET_KEY="old"), tenant_scope(ACME):
        value = signing.dumps("x")
        token = PasswordResetTokenGenerator().make_token(User(pk=1))
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        with tenant_scope(ACME):
            assert signing.loads(value) == "x"
            assert PasswordResetTokenGenerator().check_token(User(pk=1), token)
        with tenant_scope(GLOBEX), pytest.raises(signing.BadSignature):
            signing.loads(value)
