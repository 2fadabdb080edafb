"""State badges, times and JSON facts for the console's templates.

A badge always carries an icon and a word: colour alone never tells a state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants.directory import first_of

register = template.Library()

BADGES: Mapping[str, tuple[str, str]] = {
    "up": ("success", "check_circle"),
    "ok": ("success", "check_circle"),
    "active": ("success", "check_circle"),
    "ready": ("success", "check_circle"),
    "done": ("success", "check_circle"),
    "passed": ("success", "check_circle"),
    "yes": ("success", "check_circle"),
    "allowed": ("success", "check_circle"),
    "near": ("warning", "warning"),
    "over": ("danger", "block"),
    "degraded": ("warning", "warning"),
    "attention": ("warning", "warning"),
    "drained": ("warning", "water_drop"),
    "suspended": ("warning", "pause_circle"),
    "provisioning": ("info", "hourglass_top"),
    "queued": ("info", "schedule"),
    "running": ("info", "progress_activity"),
    "pending": ("info", "schedule"),
    "blocked": ("warning", "lock_clock"),
    "skipped": ("warning", "skip_next"),
    "halted": ("danger", "front_hand"),
    "dead": ("danger", "error"),
    "down": ("danger", "cancel"),
    "failed": ("danger", "error"),
    "no writer": ("danger", "edit_off"),
    "refused": ("danger", "block"),
    "erased": ("muted", "delete"),
    "unknown": ("muted", "help"),
}


@register.filter
def named(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    return first_of(names) or "—"


@register.simple_tag
def state_badge(state: str) -> SafeString:
    """The state as an icon and a word."""
    kind, icon = BADGES.get(state, ("muted", "radio_button_unchecked"))
    return format_html(
        '<span class="mc-badge mc-{}"><span class="material-symbols-outlined" '
        'aria-hidden="true">{}</span>{}</span>',
        kind,
        icon,
        state,
    )


@register.filter
def words(value: str) -> str:
    """`active_passive` as `active-passive`."""
    return str(value).replace("_", "-")


@register.filter
def seconds(value: float | None) -> str:
    """A lag for people; an em dash when it is not known."""
    if value is None:
        return "—"
    if value < 1:
        return "< 1 s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


@register.filter
def milliseconds(value: float | None) -> str:
    """A round trip in steps, so that the page does not flicker with noise."""
    if value is None:
        return "—"
    if value < 5:
        return "< 5 ms"
    step = 5 if value < 50 else 25
    return f"~{step * round(value / step)} ms"


@register.filter
def measured(value: object, unit: str) -> str:
    """A measured number with its unit; an em dash when it was not measured."""
    if not isinstance(value, int | float):
        return "—"
    number = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f"{number} {unit}".strip()


@register.filter
def moment(written: str | None) -> str:
    """A time of a document, in UTC, to the second; an em dash when it is not known."""
    if written is None:
        return "—"
    return f"{datetime.fromisoformat(written).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


@register.filter
def unlocalized(value: float) -> str:
    """A coordinate: a plain number in every language."""
    return f"{value:g}"


@register.filter
def facts(detail: object) -> str:
    """A JSON detail as one line of `key: value`."""
    if not isinstance(detail, Mapping):
        return "" if detail is None else str(detail)
    shown = (f"{key}: {_value(value)}" for key, value in detail.items() if value not in (None, ""))
    return " · ".join(shown)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
