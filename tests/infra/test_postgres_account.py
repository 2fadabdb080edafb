"""Which account PostgreSQL gets, what it can reach, and what is done where it can't."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from infra.errors import BinaryMissing, FleetError
from infra.postgres import placement
from infra.postgres.account import Account, server_account
from infra.postgres.binaries import OVERRIDE, find_postgres, parse_version
from infra.postgres.placement import place, remove_haven
from infra.postgres.settings import postgresql_conf

STRANGER = Account("stranger", 54321, (54321,))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another")


def test_an_ordinary_user_runs_it_themself() -> None:
    assert server_account(effective_uid=1000) is None


def test_root_hands_it_to_an_unprivileged_account() -> None:
    account = server_account(effective_uid=0)
    assert account is not None
    assert account.uid != 0


def test_a_closed_folder_on_the_way_is_noticed(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    _let_others_through(tmp_path)
    inner.parent.chmod(0o700)
    assert not STRANGER.may_enter(inner)
    inner.parent.chmod(0o711)
    assert STRANGER.may_enter(inner)
    assert STRANGER.may_enter(inner / "not" / "made" / "yet")


def test_versions_are_read_from_what_the_server_says() -> None:
    assert parse_version("postgres (PostgreSQL) 18.6") == 18
    assert parse_version("postgres (PostgreSQL) 16.4 (Debian 16.4-1)") == 16
    assert parse_version("nonsense") == 0


def test_an_old_postgresql_is_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("postgres", "initdb"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.9'\n")
        program.chmod(0o755)
    with pytest.raises(BinaryMissing, match="is version 15; PostgreSQL 16 or newer is needed"):
        find_postgres({OVERRIDE: str(tmp_path)})


def test_an_empty_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BinaryMissing, match="but there is no postgres in it"):
        find_postgres({OVERRIDE: str(tmp_path)})


def test_settings_that_came_with_18_are_left_out_before() -> None:
    assert "idle_replication_slot_timeout" in postgresql_conf(port=1, version=18)
    assert "idle_replication_slot_timeout" not in postgresql_conf(port=1, version=17)


@as_root
def test_a_closed_state_folder_moves_data_and_a_closed_clone_the_binaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "home" / "state"
    state.mkdir(parents=True)
    _let_others_through(tmp_path)
    state.parent.chmod(0o700)
    monkeypatch.setattr(placement, "HAVENS", tmp_path)
    monkeypatch.setattr(
        Account,
        "may_enter",
        lambda self, folder: (
            tmp_path in folder.resolve().parents and state.parent not in folder.resolve().parents
        ),
    )
    where = place(state, {})
    assert where.account is not None
    assert state not in where.data.parents
    assert tmp_path in where.binaries.folder.parents
    # The copy runs where only the account's own rights count.
    done = subprocess.run(
        [where.binaries.postgres, "--version"],
        capture_output=True,
        text=True,
        cwd="/",
        check=True,
        **where.account.as_process(),
    )
    assert parse_version(done.stdout) == where.binaries.version
    remove_haven(state)
    assert not where.binaries.folder.exists()


@as_root
def test_a_haven_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "HAVENS", tmp_path)
    monkeypatch.setattr(Account, "may_enter", lambda self, folder: False)
    haven = placement.haven_of(tmp_path)
    haven.mkdir()
    os.chown(haven, 54321, 54321)
    with pytest.raises(FleetError, match="belongs to another user"):
        place(tmp_path, {})


def _let_others_through(folder: Path) -> None:
    """Up to the first folder that anybody may pass anyway."""
    while not folder.stat().st_mode & stat.S_IXOTH:
        folder.chmod(0o711)
        folder = folder.parent
