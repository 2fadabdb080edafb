"""What the doctor found: pure values, and how they are shown as one document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """`danger`: a tenant may reach another's rows or stop another. `warning`: a defence is thinner
    than it should be. `note`: worth knowing, nothing to mend."""

    DANGER = "danger"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that is not as it should be, and what to do next. `where` is `cell@region`, a cell,
    or empty for the whole deployment."""

    check: str
    severity: Severity
    what: str
    next: str
    where: str = ""


@dataclass(slots=True)
class Report:
    """`checked` names what was looked at and where: a check that could not run is a finding."""

    checked: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to mend."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)

    def add(self, check: str, where: str, findings: Iterable[Finding]) -> None:
        self.checked.append((check, where))
        self.findings += findings

    def document(self) -> dict[str, Any]:
        """What `doctor --json` prints."""
        order = list(Severity)
        found = sorted(self.findings, key=lambda one: (order.index(one.severity), one.where))
        return {
            "healthy": self.healthy,
            "checked": [{"check": check, "where": where} for check, where in self.checked],
            "findings": [asdict(finding) for finding in found],
        }
