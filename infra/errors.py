"""Errors of the infrastructure plane; each message is one line that says what to do next.

FleetError
├── PlanError          the wanted fleet makes no sense (bad usage: exit status 2)
├── UnknownTarget      no region, link or process has this name (bad usage: exit status 2)
├── BinaryMissing      a server's binary is absent, too old or can't be run
├── PortInUse          something else listens where the fleet wants to
├── ServerFailed       a server or a step of the start-up ended with an error
└── NotRunning         the command needs a running fleet
"""


class FleetError(Exception):
    """Root of all errors that the local fleet raises."""

    exit_status = 1


class PlanError(FleetError):
    """The wanted fleet makes no sense."""

    exit_status = 2


class UnknownTarget(FleetError):
    """No region, link or process has this name."""

    exit_status = 2


class BinaryMissing(FleetError):
    """A server's binary is absent, too old or can't be run."""


class PortInUse(FleetError):
    """Something else listens where the fleet wants to."""


class ServerFailed(FleetError):
    """A server or a step of the start-up ended with an error."""


class NotRunning(FleetError):
    """The command needs a running fleet."""
