"""Mail through a real SMTP server: in whose name it goes, and what is not sent at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from django.core.mail import EmailMessage, mail_admins, send_mail

from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.errors import NoTenantError
from tenants.mail import HEADER, control_plane_mail
from testkit.ports import free_ports

ACME = TenantRecord(
    id=uuid4(), slug="acme", cell="c", mode="shared", schema="public", state="active",
    residency="EU", token_generation=1, hosts=("acme.example.org", "www.acme.test"),
)  # fmt: skip
GLOBEX = replace(ACME, id=uuid4(), slug="globex", hosts=("globex.example.org",))


class Inbox:
    """What the server has taken: the envelope's sender, and the message."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Message]] = []

    async def handle_DATA(self, server: SMTP, session: object, envelope: object) -> str:
        content = envelope.original_content
        self.received.append((envelope.mail_from, message_from_bytes(content)))
        return "250 taken"


@pytest.fixture
def inbox(settings) -> Iterator[Inbox]:
    found = Inbox()
    port = next(free_ports())
    server = Controller(found, hostname="127.0.0.1", port=port, ready_timeout=120)
    server.start()
    settings.EMAIL_BACKEND = "tenants.mail.EmailBackend"
    settings.MERIDIAN_MAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.ADMINS = [("Ops", "ops@example.org")]
    yield found
    server.stop()


def test_a_tenants_mail_is_sent_from_its_own_address_with_its_opaque_id(inbox):
    for tenant in (ACME, GLOBEX):
        with tenant_scope(tenant):
            assert send_mail("s", "b", None, ["c@example.net"]) == 1
    for tenant, (sender, message) in zip((ACME, GLOBEX), inbox.received, strict=True):
        assert sender == message["From"] == f"webmaster@{tenant.hosts[0]}"
        assert message[HEADER] == str(tenant.id)
        assert tenant.slug not in message[HEADER]
        assert message["Reply-To"] is None


def test_nobody_sends_in_another_tenants_name(inbox):
    """Neither as the sender, nor in a header, nor with the other's id."""
    with tenant_scope(ACME):
        EmailMessage(
            "s", "b", "Boss <webmaster@globex.example.org>", ["c@example.net"],
            headers={"From": "boss@globex.example.org", "x-meridian-tenant": str(GLOBEX.id)},
        ).send()  # fmt: skip
    ((sender, message),) = inbox.received
    assert sender == "webmaster@acme.example.org"
    assert message.get_all("From") == ["webmaster@acme.example.org"]
    assert message.get_all(HEADER) == [str(ACME.id)]
    assert message["Reply-To"] == "boss@globex.example.org"


def test_a_tenants_own_address_keeps_its_name(inbox):
    with tenant_scope(ACME):
        send_mail("s", "b", "Acme <webmaster@acme.example.org>", ["c@example.net"])
    ((_, message),) = inbox.received
    assert message["From"] == "Acme <webmaster@acme.example.org>"


def test_a_product_says_which_address_a_tenant_has(inbox, settings):
    settings.MERIDIAN_MAIL_FROM = f"{__name__}.by_product"
    with tenant_scope(ACME):
        send_mail("s", "b", None, ["c@example.net"])
    assert inbox.received[0][0] == "acme@mail.example.org"


def by_product(tenant: TenantRecord) -> str:
    return f"{tenant.slug}@mail.example.org"


def test_mail_without_a_tenant_is_refused_before_anything_is_sent(inbox):
    with pytest.raises(NoTenantError, match="control_plane_mail"):
        send_mail("s", "b", "a@example.org", ["ops@example.org", "c@example.net"])
    assert inbox.received == []


def test_the_platforms_own_mail_says_that_it_is(inbox):
    with control_plane_mail():
        send_mail("s", "b", "billing@example.org", ["c@example.net"])
    with pytest.raises(NoTenantError):
        send_mail("s", "b", "billing@example.org", ["c@example.net"])
    ((sender, message),) = inbox.received
    assert sender == "billing@example.org"
    assert message[HEADER] is None


def test_operators_hear_from_tenants_and_from_no_tenant(inbox):
    mail_admins("s", "b")
    with tenant_scope(ACME):
        mail_admins("s", "b")
    assert [message[HEADER] for _, message in inbox.received] == [None, str(ACME.id)]
    assert {sender for sender, _ in inbox.received} == {"root@localhost"}
