"""Where a run's folder is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit import grounds


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for the machine's memory, with room."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(grounds, "MEMORY", tmp_path)
    monkeypatch.setattr(grounds, "ROOM", 1)
    return tmp_path


def test_a_runs_folder_is_in_memory_where_that_has_room(memory: Path):
    assert grounds.in_memory() == memory


def test_it_is_elsewhere_where_memory_has_no_room(memory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grounds, "ROOM", 1 << 60)
    assert grounds.in_memory() is None


def test_it_is_elsewhere_where_nothing_can_be_kept_in_memory(
    memory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(grounds, "MEMORY", memory / "nowhere")
    assert grounds.in_memory() is None


def test_it_is_where_temporary_files_are_wanted(memory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(memory))
    assert grounds.in_memory() is None
