"""Every log record knows its tenant, whoever logs it and whoever formats it.

Guarantees that a record carries the tenant that was in scope when it was made (not when a queue
or another thread came to write it): `tenant` is the slug, `tenant_id` the opaque id, "-" where
there was none. Any formatter can name them: `%(tenant)s`.
"""

from __future__ import annotations

import logging
from typing import Any

from tenants.context import current_tenant_or_none

NOBODY = "-"


def stamp_records() -> None:
    """From now on, in this process. Safe to repeat; other record factories stay in force."""
    make = logging.getLogRecordFactory()
    if getattr(make, "stamps_tenants", False):
        return

    def stamped(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        tenant = current_tenant_or_none()
        record.tenant = tenant.slug if tenant else NOBODY
        record.tenant_id = str(tenant.id) if tenant else NOBODY
        return record

    stamped.stamps_tenants = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(stamped)


def tag_error_report(event: dict[str, Any], hint: Any = None) -> dict[str, Any]:
    """For error reporters of Sentry's kind: `sentry_sdk.init(before_send=tag_error_report)`. The
    report names the tenant by its opaque id, and nothing else of it."""
    tenant = current_tenant_or_none()
    if tenant is not None:
        event.setdefault("tags", {})["tenant"] = str(tenant.id)
        event.pop("user", None)
    return event
