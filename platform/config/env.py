"""The process' environment: the only module that reads it, beside the agent's entry point.

Guarantees that a command started by hand finds the running fleet with no variable exported:
`MERIDIAN_DIR`, else the folder that `<repo>/.meridian` names, else `<repo>/.fleet`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from regions.deployment import ETCD_PASSWORD

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Environment:
    """`region` is None for a command started by hand: an operator, who belongs to no region."""

    state_dir: Path
    region: str | None
    debug: bool
    log_level: str
    etcd_password: str = field(default="", repr=False)

    @property
    def deployment_path(self) -> Path:
        return self.state_dir / "deployment.json"


def read(variables: Mapping[str, str] | None = None, *, root: Path = ROOT) -> Environment:
    """The environment of this process, or of `variables` when given."""
    if variables is None:
        variables = os.environ
    return Environment(
        state_dir=_state_dir(variables, root),
        region=variables.get("MERIDIAN_REGION") or None,
        debug=variables.get("MERIDIAN_DEBUG", "").lower() in {"1", "true", "yes", "on"},
        log_level=variables.get("MERIDIAN_LOG_LEVEL", "INFO").upper(),
        etcd_password=variables.get(ETCD_PASSWORD, ""),
    )


def use_settings() -> None:
    """Servers and workers started without DJANGO_SETTINGS_MODULE use `config.settings`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


def _state_dir(variables: Mapping[str, str], root: Path) -> Path:
    if explicit := variables.get("MERIDIAN_DIR"):
        return Path(explicit)
    try:
        active = (root / ".meridian").read_text().strip()
    except FileNotFoundError:
        active = ""
    return Path(active) if active else root / ".fleet"
