"""A drill's report as one HTML page that needs nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:.2rem}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #dde2ea}
.yes{color:#116b3a}.no{color:#b3261e}.note{color:#5b6675}
@media (prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ee}th,td{border-color:#2c3440}
.yes{color:#6fd49b}.no{color:#ff8a80}.note{color:#9aa6b6}}
"""


def render(report: Mapping[str, Any]) -> str:
    passed = report["passed"]
    outcome = "passed" if passed else "failed"
    times = {name: value for name, value in report["times"].items() if name != "rto"}
    facts = [
        ("RTO", _seconds(report["rto_seconds"])),
        ("RPO before healing", _count(report["rpo_writes"], "write")),
        ("Missing after healing", _count(report["missing_after_healing"], "write")),
        *((name.capitalize(), _seconds(value)) for name, value in times.items()),
        ("Writes acknowledged", report["clients"]["acknowledged"]),
        ("Errors seen by clients", report["clients"]["errors"]),
    ]
    checks = (
        (check["name"], check["wanted"], check["found"], _mark(check["passed"]))
        for check in report["checks"]
    )
    parts = [
        f"<h1>{escape(report['scenario'])} {_mark(passed, outcome)}</h1>",
        f"<p class=note>{escape(report['title'])} Cell {escape(report['cell'])}, written by "
        f"{escape(report['writer'])}. Run {escape(report['id'])}.</p>",
        _table("Objectives", ("Check", "Wanted", "Found", ""), checks),
        _table("Measured", ("", ""), facts),
        _compared(report["compared"]),
        _table(
            "Timeline", ("s", "What"), ((one["seconds"], one["what"]) for one in report["timeline"])
        ),
        _radius(report),
    ]
    title = escape(f"{report['scenario']} {outcome}: {report['id']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style>{''.join(parts)}</html>"
    )


class _Markup(str):
    """Text that is HTML already."""


def _mark(passed: bool, text: str | None = None) -> _Markup:
    word = escape(text or ("yes" if passed else "no"))
    return _Markup(f'<span class="{"yes" if passed else "no"}">{word}</span>')


def _cell(value: object) -> str:
    return value if isinstance(value, _Markup) else escape("—" if value is None else str(value))


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows
    )
    return f"<h2>{escape(title)}</h2><table><thead><tr>{head}</tr></thead>{body}</table>"


def _compared(compared: Mapping[str, Any] | None) -> str:
    if compared is None:
        return "<h2>Compared</h2><p class=note>This is the first run of this drill.</p>"
    changes = (
        ("RTO, seconds", compared["rto_seconds"]),
        ("RPO, writes", compared["rpo_writes"]),
        ("Errors seen by clients", compared["errors"]),
    )
    rows = ((name, None if change is None else f"{change:+g}") for name, change in changes)
    return _table(f"Compared with {compared['with']}", ("", "Change"), rows)


def _radius(report: Mapping[str, Any]) -> str:
    rows = [
        *((one["cell"], f"moves to {one['to']}", one["tenants"]) for one in report["moves"]),
        *((one["cell"], f"dark: {one['reason']}", one["tenants"]) for one in report["dark"]),
        *((one["cell"], one["note"], one["tenants"]) for one in report["stays"]),
    ]
    shown = ((cell, what, ", ".join(tenants) or None) for cell, what, tenants in rows)
    return _table("Blast radius", ("Cell", "What", "Tenants"), shown)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f} s"


def _count(value: int | None, what: str) -> str | None:
    return None if value is None else f"{value} {what}{'' if value == 1 else 's'}"
