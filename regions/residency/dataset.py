"""The jurisdictions data: dated, directional and partial facts, read once from the package.

Loading validates everything: a row with an unknown country, a period that ends before it begins
or a missing source stops the load, and then every decision is a refusal (G01).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from regions.errors import ResidencyDataError

DATA_DIR = Path(__file__).parent / "data"
STRENGTHS = ("HARD", "HARD_COPY", "DENY_LIST", "CONDITIONAL", "SECTOR", "ACCOUNTABILITY")


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end): `end` is the first day that is outside; None is open."""

    start: date
    end: date | None

    def __contains__(self, day: date) -> bool:
        return self.start <= day and (self.end is None or day < self.end)


@dataclass(frozen=True, slots=True)
class Adequacy:
    """One adequacy decision, from an exporter's law to a place."""

    exporter: str
    country: str
    act: str
    period: Period
    certification: str | None
    note: str
    not_for: frozenset[str]


@dataclass(frozen=True, slots=True)
class Regime:
    """A localisation law: the legal floor for homes in its country."""

    country: str
    strength: str
    act: str
    period: Period
    denied: frozenset[str]


@dataclass(frozen=True)
class DataSet:
    """Every fact that a decision reads, with the version that decisions quote."""

    version: str
    checked_on: date
    countries: frozenset[str]
    country_aliases: Mapping[str, str]
    law_aliases: Mapping[str, str]
    bodies: Mapping[str, str]
    laws: Mapping[str, tuple[tuple[str, Period], ...]]
    territories: frozenset[str]
    exporters: Mapping[str, str]
    adequacy: tuple[Adequacy, ...]
    regimes: tuple[Regime, ...]

    def country(self, code: str) -> str | None:
        """The ISO code that `code` means, or None when it means no assigned one (G02)."""
        upper = code.strip().upper()
        upper = self.country_aliases.get(upper, upper)
        return upper if upper in self.countries else None

    def law(self, code: str) -> str:
        """The usual name of a body of law."""
        upper = code.strip().upper()
        return self.law_aliases.get(upper, upper)

    def law_of(self, country: str, day: date) -> str:
        """The body of law that governs a country on a day; its own when no row says otherwise."""
        for law, period in self.laws.get(country, ()):
            if day in period:
                return law
        return country

    def laws_ever(self, country: str) -> frozenset[str]:
        """Each body of law that has governed the country: what a region there may declare."""
        return frozenset({law for law, _ in self.laws.get(country, ())} or {country})

    def decisions(self, exporter_law: str, country: str, day: date) -> tuple[Adequacy, ...]:
        """Adequacy decisions of a law about a country, whether in force on `day` or not."""
        names = {country, self.law_of(country, day)}
        return tuple(a for a in self.adequacy if a.exporter == exporter_law and a.country in names)

    def regimes_of(self, country: str, day: date) -> tuple[Regime, ...]:
        return tuple(r for r in self.regimes if r.country == country and day in r.period)


@lru_cache(maxsize=1)
def current() -> DataSet:
    """The data of this package, loaded and validated once a process."""
    return load(DATA_DIR)


def load(folder: Path) -> DataSet:
    """Read and validate a data folder. Raises ResidencyDataError, naming the file at fault."""
    documents = {}
    for name in ("version", "places", "adequacy", "regimes"):
        path = folder / f"{name}.toml"
        try:
            documents[name] = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ResidencyDataError(f"{path.name} of the residency data: {error}") from error
    try:
        return _build(**documents)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ResidencyDataError(f"The residency data is invalid: {error!r}") from error


def _build(
    version: Mapping[str, Any],
    places: Mapping[str, Any],
    adequacy: Mapping[str, Any],
    regimes: Mapping[str, Any],
) -> DataSet:
    countries = frozenset(places["countries"].split())
    exporters = dict(adequacy["exporters"])
    known = countries | set(places["bodies"])
    laws: dict[str, list[tuple[str, Period]]] = {}
    for row in places["laws"]:
        _require_known(row["places"], countries, row)
        for place in row["places"]:
            laws.setdefault(place, []).append((row["law"], _period(row)))
    decisions = []
    for row in adequacy["decisions"]:
        _require_known([row["country"]], known, row)
        _require_known([row["exporter"]], exporters, row)
        if (row["scope"] == "partial") != ("certification" in row):
            raise ValueError(f"a partial decision, and no other, names a certification: {row}")
        decisions.append(
            Adequacy(
                exporter=row["exporter"],
                country=row["country"],
                act=row["act"],
                period=_period(row),
                certification=row.get("certification"),
                note=row.get("note", ""),
                not_for=frozenset(row.get("not_for", ())),
            )
        )
    floors = []
    for row in regimes["regimes"]:
        _require_known([row["country"], *row.get("denied", ())], countries, row)
        _require_known([row["strength"]], STRENGTHS, row)
        denied = frozenset(row.get("denied", ()))
        floors.append(Regime(row["country"], row["strength"], row["act"], _period(row), denied))
    return DataSet(
        version=version["version"],
        checked_on=version["checked_on"],
        countries=countries,
        country_aliases=dict(places["country_aliases"]),
        law_aliases=dict(places["law_aliases"]),
        bodies=dict(places["bodies"]),
        laws={place: tuple(rows) for place, rows in laws.items()},
        territories=frozenset(places["territories"]),
        exporters=exporters,
        adequacy=tuple(decisions),
        regimes=tuple(floors),
    )


def _period(row: Mapping[str, Any]) -> Period:
    """The row's period; every row also owes a source."""
    start, end = row["valid_from"], row.get("valid_to")
    if not row["source"]:
        raise ValueError(f"a row has no source: {row}")
    if end is not None and end <= start:
        raise ValueError(f"a row ends before it begins: {row}")
    return Period(start, end)


def _require_known(codes: Iterable[str], known: Iterable[str], row: Mapping[str, Any]) -> None:
    unknown = sorted(set(codes) - set(known))
    if unknown:
        raise ValueError(f"unknown code {', '.join(unknown)} in {row}")
