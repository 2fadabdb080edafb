from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from tenants.maps import here, region_map
from tests.gateway.maps import cell, tenant


def test_a_new_map_is_seen_at_the_next_look(publish: Callable[..., None]) -> None:
    publish(cells=[cell("eu", "eu-west")], writers={"eu": "eu-west"})
    assert region_map().loaded
    assert region_map().lease("eu").writer == "eu-west"
    publish(cells=[cell("eu", "eu-west", "eu-central")], writers={"eu": "eu-central"})
    assert region_map().lease("eu").writer == "eu-central"
    assert region_map().topology().cell("eu").regions == ("eu-west", "eu-central")


def test_before_the_agent_has_published_the_map_is_empty(publish: Callable[..., None]) -> None:
    assert not region_map().loaded
    assert region_map().lease("eu") is None
    assert region_map().directory().by_host == {}


def test_a_broken_file_leaves_the_last_good_map_in_force(
    publish: Callable[..., None], tmp_path: Path
) -> None:
    publish(cells=[cell("eu", "eu-west")], tenants=[tenant("acme", "eu")])
    assert "acme.localhost" in region_map().directory().by_host
    assert "eu" in region_map().topology().cells
    for name in ("topology.json", "directory.json"):
        (tmp_path / "eu-west" / name).write_text('{"version": 2, "cells": [{"na')
    assert "acme.localhost" in region_map().directory().by_host
    assert "eu" in region_map().topology().cells


def test_a_map_that_names_an_unknown_region_is_not_taken(publish: Callable[..., None]) -> None:
    publish(cells=[cell("eu", "eu-west")])
    assert "eu" in region_map().topology().cells
    publish(cells=[cell("eu", "mars")])
    assert region_map().topology().cell("eu").regions == ("eu-west",)


def test_a_process_without_a_region_says_what_to_set(settings) -> None:
    settings.MERIDIAN_REGION = None
    with pytest.raises(ImproperlyConfigured, match="MERIDIAN_REGION"):
        here()
