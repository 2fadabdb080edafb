"""Rules that every file of the repository keeps."""

import re
import statistics

import pytest

from tests.architecture.repository import PACKAGES, files, read

LONGEST_MODULE = 300
MEDIAN_MODULE = 120
MODULES = [p for p in files("*.py") if "migrations" not in p.parts]
SOURCES = [p for p in MODULES if p.parts[0] in PACKAGES]
# Assembled, so that this file does not contain what it looks for.
MACHINE_PATHS = re.compile("|".join(f"/{place}/" for place in ("home", "root", "Users", "work")))
READS_ENVIRONMENT = re.compile(r"\bos\.(environ|getenv|putenv)\b|from os import .*\benviron\b")
ENVIRONMENT_READERS = ("tests", "testkit", "infra", "bench")


def test_the_listing_finds_the_sources():
    assert {p.parts[0] for p in SOURCES} == set(PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_is_short_enough_to_hold_one_idea(path):
    assert len(read(path).splitlines()) <= LONGEST_MODULE


def test_half_of_the_modules_fit_on_two_screens():
    lengths = [len(text.splitlines()) for p in SOURCES if (text := read(p)).strip()]
    assert statistics.median(lengths) <= MEDIAN_MODULE


def test_no_file_names_a_folder_of_one_machine():
    guilty = [str(p) for p in files("*") if MACHINE_PATHS.search(read(p))]
    assert guilty == []


def test_the_environment_is_read_in_one_module_and_by_the_agent_which_has_no_django():
    allowed = {"platform/config/env.py", "manage.py", "regions/failover/__main__.py"}
    guilty = [
        str(p)
        for p in MODULES
        if str(p) not in allowed
        and p.parts[0] not in ENVIRONMENT_READERS
        and READS_ENVIRONMENT.search(read(p))
    ]
    assert guilty == []


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.name not in {"__init__.py", "apps.py"}], ids=str
)
def test_a_module_says_what_it_guarantees(path):
    text = read(path)
    assert not text.strip() or text.lstrip().startswith('"""')
