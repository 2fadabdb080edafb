"""Mail that knows its tenant: a wrapper around any of Django's e-mail backends.

Guarantees that a tenant's mail is sent from the tenant's own address and never in another's name,
carries the tenant's opaque id, and that code which forgot its tenant sends nothing. Mail to the
operators themselves (`mail_admins`, `mail_managers`) goes out from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string

from tenants.context import current_tenant_or_none
from tenants.directory import TenantRecord
from tenants.errors import NoTenantError

HEADER = "X-Meridian-Tenant"
_of_control_plane: ContextVar[bool] = ContextVar("meridian_control_mail", default=False)


@contextmanager
def control_plane_mail() -> Iterator[None]:
    """Inside the block mail may be sent for no tenant."""
    token = _of_control_plane.set(True)
    try:
        yield
    finally:
        _of_control_plane.reset(token)


def subdomain_address(tenant: TenantRecord) -> str:
    """MERIDIAN_MAIL_FROM's default: the platform's own mailbox at the tenant's host."""
    box = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].partition("@")[0] or "noreply"
    return f"{box}@{tenant.hosts[0]}"


class EmailBackend(BaseEmailBackend):
    """`EMAIL_BACKEND`. What it is given goes to MERIDIAN_MAIL_BACKEND, which sends."""

    def __init__(self, fail_silently: bool = False, **options: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        self._inner: BaseEmailBackend = get_connection(
            settings.MERIDIAN_MAIL_BACKEND, fail_silently=fail_silently, **options
        )

    def open(self) -> bool | None:
        return self._inner.open()

    def close(self) -> None:
        self._inner.close()

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Raises NoTenantError before anything is sent."""
        messages = list(email_messages)
        for message in messages:
            _address(message)
        return self._inner.send_messages(messages) or 0


def _address(message: EmailMessage) -> None:
    tenant = current_tenant_or_none()
    to_operators = _operators().issuperset(_lower(message.recipients()))
    kept = {n: v for n, v in message.extra_headers.items() if n.lower() != HEADER.lower()}
    message.extra_headers = kept
    if tenant is None:
        if not to_operators and not _of_control_plane.get():
            raise NoTenantError(
                "This mail has no tenant: send it inside `tenant_scope(tenant)`, or inside "
                "`control_plane_mail()` if it is the platform's own."
            )
        return
    message.extra_headers[HEADER] = str(tenant.id)
    if not to_operators:
        _send_from(message, _own_address(tenant))


def _send_from(message: EmailMessage, own: str) -> None:
    """The tenant's address sends; where the app wanted another, answers go there."""
    wanted = parseaddr(message.from_email)[1]
    # A From header would stand in the message whatever the envelope says.
    for header in [name for name in message.extra_headers if name.lower() in ("from", "sender")]:
        wanted = parseaddr(str(message.extra_headers.pop(header)))[1] or wanted
    if wanted.lower() == parseaddr(own)[1].lower():
        message.from_email = message.from_email if parseaddr(message.from_email)[1] else own
        return
    if wanted and wanted not in _platform() and not message.reply_to:
        message.reply_to = [wanted]
    message.from_email = own


def _own_address(tenant: TenantRecord) -> str:
    address: Callable[[TenantRecord], str] = import_string(settings.MERIDIAN_MAIL_FROM)
    return address(tenant)


def _platform() -> frozenset[str]:
    """What Django puts in when the app names no sender."""
    return frozenset(_lower([settings.DEFAULT_FROM_EMAIL, settings.SERVER_EMAIL]))


def _operators() -> frozenset[str]:
    people = [*settings.ADMINS, *settings.MANAGERS]
    return frozenset(_lower(entry if isinstance(entry, str) else entry[1] for entry in people))


def _lower(addresses: Iterable[str]) -> list[str]:
    return [parseaddr(address)[1].lower() for address in addresses]
