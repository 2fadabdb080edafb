"""The data is complete, and data that is not does not load."""

import shutil
import time
from datetime import date

import pytest

from regions.errors import ResidencyDataError
from regions.residency import Destination, Operation, dataset, decide, parse_policy


def test_all_249_countries_are_known():
    assert len(dataset.current().countries) == 249


def test_the_eea_has_thirty_members_after_the_uk_left():
    data = dataset.current()
    today = [c for c in data.countries if data.law_of(c, date(2026, 11, 23)) == "EU"]
    assert len(set(today) - data.territories) == 30
    assert data.law_of("GB", date(2020, 12, 31)) == "EU"
    assert data.law_of("GB", date(2021, 1, 1)) == "UK"


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("places.toml", '"HR"', '"HX"', "HX"),
        ("adequacy.toml", 'country = "BR"', 'country = "ZZ"', "ZZ"),
        ("adequacy.toml", "valid_to = 2031-12-27", "valid_to = 1999-01-01", "ends before"),
        ("adequacy.toml", 'certification = "DPF"\n', "", "certification"),
        ("regimes.toml", '"HARD_COPY"', '"SOFT"', "SOFT"),
        ("regimes.toml", "source = ", "sauce = ", "source"),
        ("version.toml", "version = ", "version ", "version.toml"),
    ],
)
def test_data_that_contradicts_itself_does_not_load(tmp_path, file, old, new, complaint):
    folder = shutil.copytree(dataset.DATA_DIR, tmp_path / "data")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    with pytest.raises(ResidencyDataError, match=complaint):
        dataset.load(folder)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ResidencyDataError, match=r"version\.toml"):
        dataset.load(tmp_path)


def test_g01_data_that_does_not_load_denies_everybody(tmp_path, monkeypatch):
    policy = parse_policy("EU")
    monkeypatch.setattr(dataset, "DATA_DIR", tmp_path)
    dataset.current.cache_clear()
    try:
        place = Destination("eu-west", "IE", "EU")
        decision = decide(policy, Operation.ROUTE, place, at=date(2026, 11, 23))
    finally:
        dataset.current.cache_clear()
    assert not decision.allowed
    assert "G01" in decision.rules


def test_g07_a_decision_takes_less_than_a_millisecond():
    policy, place = parse_policy("EU:ADEQUATE"), Destination("us-east", "US", "US")
    timings = []
    for _ in range(500):
        begin = time.thread_time()
        decide(policy, Operation.ROUTE, place, at=date(2026, 11, 23))
        timings.append(time.thread_time() - begin)
    assert sorted(timings)[250] < 0.001
