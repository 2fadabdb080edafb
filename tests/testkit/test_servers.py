"""Servers that tests start."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.ports import free_ports
from testkit.servers import start_valkey


def test_another_server_on_the_port_is_not_taken_for_the_one_that_was_started(tmp_path: Path):
    url = f"redis://127.0.0.1:{next(free_ports())}/0"
    first = start_valkey(url, tmp_path)
    try:
        with pytest.raises(TimeoutError, match="did not start"):
            start_valkey(url, tmp_path)
    finally:
        first.kill()
        first.wait()
