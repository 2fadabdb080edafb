"""Which account PostgreSQL runs under, and what that account can reach.

PostgreSQL refuses to run as root. A launcher that is root hands it to an unprivileged account,
which must be able to walk to the binaries and to the data; where it can't, both are put in a
folder of their own outside (see `placement`).
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import BinaryMissing

UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine by name, user id and group ids (the first is primary)."""

    name: str
    uid: int
    groups: tuple[int, ...]

    def may_enter(self, folder: Path) -> bool:
        """Whether the account may walk through every folder from the root to `folder`.

        Reads mode bits, because root's own access(2) says yes to everything.
        """
        resolved = folder.resolve()
        return all(self._may_search(step) for step in (*resolved.parents, resolved))

    def _may_search(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except FileNotFoundError:
            return True  # made later, by the launcher, with a mode that lets the account in
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in self.groups:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def own(self, path: Path) -> None:
        """Give one file or folder to the account."""
        os.chown(path, self.uid, self.groups[0])

    def as_process(self) -> dict[str, Any]:
        """Arguments that make `subprocess` run a command under the account."""
        return {"user": self.uid, "group": self.groups[0], "extra_groups": list(self.groups[1:])}


def server_account(effective_uid: int | None = None) -> Account | None:
    """The account for PostgreSQL: None (the launcher's own) unless the launcher is root."""
    if (os.geteuid() if effective_uid is None else effective_uid) != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise BinaryMissing(
            f"PostgreSQL does not run as root and this machine has no account {UNPRIVILEGED!r}: "
            "run the fleet as an ordinary user."
        ) from None
    others = (gid for gid in os.getgrouplist(entry.pw_name, entry.pw_gid) if gid != entry.pw_gid)
    return Account(entry.pw_name, entry.pw_uid, (entry.pw_gid, *others))
