"""Logs: one JSON document a line, each with the region and the tenant it concerns.

Guarantees that a record names the tenant by slug only. Messages with personal data or row
values have no place in a log, so PostgreSQL's DETAIL lines are cut from tracebacks too.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from tenants.logs import NOBODY

# What PostgreSQL adds below an error's first line quotes values of the row.
_VALUES = re.compile(r"^(DETAIL|CONTEXT|QUERY|STATEMENT|HINT):.*$|^LINE \d+:.*\n.*$", re.MULTILINE)


class JsonFormatter(logging.Formatter):
    """One record, one line."""

    def __init__(self, region: str) -> None:
        super().__init__()
        self._region = region

    def format(self, record: logging.LogRecord) -> str:
        slug = getattr(record, "tenant", NOBODY)
        document: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "region": self._region,
            "tenant": None if slug == NOBODY else slug,
            "message": without_values(record.getMessage()),
        }
        if record.exc_info:
            document["exception"] = without_values(self.formatException(record.exc_info))
        return json.dumps(document, ensure_ascii=False)


def without_values(text: str) -> str:
    """The text without the lines in which PostgreSQL quotes row values and statements."""
    return _VALUES.sub(lambda line: line.group(0).split(":")[0] + ": (withheld)", text)


def is_exception(record: logging.LogRecord) -> bool:
    """Answers such as 404 and 503 are in the metrics; what nobody caught is worth a line."""
    return record.exc_info is not None


def configuration(*, level: str, region: str) -> dict[str, Any]:
    """Django's LOGGING: everything to standard error; the process manager keeps the files."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "exceptions": {
                "()": "django.utils.log.CallbackFilter",
                "callback": is_exception,
            }
        },
        "formatters": {"json": {"()": JsonFormatter, "region": region}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            name: {"level": level} for name in ("config", "gateway", "desk", "tenants", "regions")
        }
        | {
            # Django's own handler would print requests a second time, with their paths.
            "django": {"handlers": [], "level": "WARNING", "propagate": True},
            "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
            "django.request": {"level": "ERROR", "filters": ["exceptions"]},
            "celery": {"level": "INFO"},
        },
    }
