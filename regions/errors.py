"""Errors of the regions plane.

RegionsError
├── DeploymentError      the deployment document is missing or invalid
├── TopologyError        the map of regions, cells and replicas contradicts itself
├── UnknownRegion · UnknownCell
├── InvalidTimetable     a timetable cannot be understood, or leaves an hour to two or to nobody
├── InvalidPolicy        a residency policy cannot be understood
├── ResidencyDataError   the residency data set is missing or contradicts itself
├── ResidencyDenied      a residency rule forbids the operation (carries the decision)
├── NoWriter             no region holds the cell's lease now
├── ReplicaDown          a replica that is needed for an answer does not answer
├── NotSettled           a replica did not catch up with another in time
├── RepairRunning        somebody repairs the cell already
├── NotLost              a region that was said to be lost is there
├── NotAlike             two replicas' tables are not the same
├── CannotUpgrade        a database is of a version that this one cannot bring up to date
├── UnknownScenario · UnknownDrill
├── DrillRefused         a drill makes no sense here, or customers would notice; nothing was broken
└── SwitchoverFailed     the writer could not be moved; nothing was changed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regions.residency.model import Decision


class RegionsError(Exception):
    """Root of all errors that the regions plane raises."""


class DeploymentError(RegionsError):
    """The deployment document is missing or invalid."""


class TopologyError(RegionsError):
    """The map of regions, cells and replicas contradicts itself."""


class UnknownRegion(RegionsError):
    """No region has this name."""


class UnknownCell(RegionsError):
    """No cell has this name."""


class InvalidTimetable(RegionsError):
    """A timetable cannot be understood, or leaves an hour to two regions or to nobody."""


class InvalidPolicy(RegionsError):
    """A residency policy cannot be understood; the message says what is expected."""


class ResidencyDataError(RegionsError):
    """The residency data set is missing or contradicts itself."""


class ResidencyDenied(RegionsError):
    """A residency rule forbids the operation; the message names the rule and says why."""

    def __init__(self, message: str, decision: Decision | None = None) -> None:
        super().__init__(message)
        self.decision = decision


class NoWriter(RegionsError):
    """No region holds the cell's lease now."""


class SwitchoverFailed(RegionsError):
    """The writer could not be moved; nothing was changed."""


class UnknownScenario(RegionsError):
    """No drill is called so."""


class UnknownDrill(RegionsError):
    """No run of a drill has this name."""


class DrillRefused(RegionsError):
    """A drill makes no sense here, or customers would notice; nothing was broken."""


class ReplicaDown(RegionsError):
    """A replica that is needed for an answer does not answer."""


class NotSettled(RegionsError):
    """A replica did not catch up with another in time."""


class RepairRunning(RegionsError):
    """Somebody repairs the cell already."""


class CannotUpgrade(RegionsError):
    """A database is of a version that this one cannot bring up to date; it is as it was."""


class NotLost(RegionsError):
    """A region that was said to be lost answers, or was heard of a moment ago."""


class NotAlike(RegionsError):
    """Two replicas' tables are not the same, so that rows can't be copied as they are."""
