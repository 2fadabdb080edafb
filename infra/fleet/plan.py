"""The plan of a local fleet: which regions and links there are, their ports and folders.

Pure: the same options give the same plan, on any machine. Ports follow from the base and the
region's node number, so that the plan of three regions is a part of the plan of eight:

    base            edge            base + 10·node + 0   web
    base + 1        edge's admin    base + 10·node + 1   PostgreSQL
                                    base + 10·node + 2   Valkey
    base + 2 + n    n-th member of etcd
    base + 100 + 10·a + b           link from node a to node b
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.errors import PlanError, UnknownTarget

HOST = "127.0.0.1"
DEFAULT_PORT_BASE = 7100
PORT_SPAN = 200
MOST_MEMBERS = 8  # of etcd
LEASE_TTL_SECONDS = 3.0

_PLACES = (
    ("eu-west", "IE", "EU"),
    ("eu-central", "DE", "EU"),
    ("us-east", "US", "US"),
    ("uk-south", "GB", "UK"),
    ("ap-northeast", "JP", "JP"),
    ("sa-east", "BR", "BR"),
    ("ch-north", "CH", "CH"),
    ("ca-central", "CA", "CA"),
)


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """One region: its law, its number in stamps (`node`) and its ports."""

    name: str
    country: str
    jurisdiction: str
    node: int
    web_port: int
    postgres_port: int
    valkey_port: int


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """The port at which `source` reaches `target`'s PostgreSQL."""

    source: str
    target: str
    port: int


@dataclass(frozen=True, slots=True)
class StoreLink:
    """The port at which agents reach a member of etcd, `name`, that answers at host and `at`."""

    name: str
    port: int
    host: str
    at: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole fleet. `state` is its folder, `data` holds the PostgreSQL clusters.

    `data` is within `state`, unless the account that runs PostgreSQL can't get there. `etcd`: the
    URLs of the members that grant its leases; none: its regions' PostgreSQL do.
    """

    state: Path
    data: Path
    port_base: int
    regions: tuple[RegionPlan, ...]
    links: tuple[LinkPlan, ...]
    etcd: tuple[str, ...] = ()

    @property
    def edge_port(self) -> int:
        return self.port_base

    @property
    def edge_admin_port(self) -> int:
        return self.port_base + 1

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def envoy(self) -> Path:
        return self.state / "envoy"

    @property
    def store_links(self) -> tuple[StoreLink, ...]:
        """To etcd's members, but for those with TLS: their certificates are for their own names."""
        urls = [urlsplit(url) for url in self.etcd]
        return tuple(
            StoreLink(url.netloc, self.port_base + 2 + number, url.hostname or HOST, url.port or 80)
            for number, url in enumerate(urls)
            if url.scheme == "http"
        )

    def region(self, name: str) -> RegionPlan:
        """The named region. Raises UnknownTarget, naming those that exist."""
        for region in self.regions:
            if region.name == name:
                return region
        known = ", ".join(region.name for region in self.regions)
        raise UnknownTarget(f"No region is called {name!r}. Regions: {known}.")

    def pgdata(self, region: str) -> Path:
        return self.data / region / "pgdata"

    def valkey_dir(self, region: str) -> Path:
        return self.state / "regions" / region / "valkey"

    def map_dir(self, region: str) -> Path:
        return self.state / "regions" / region / "map"

    def data_folders(self) -> tuple[Path, ...]:
        """Where PostgreSQL and Valkey work: each is the working folder of its server."""
        return tuple(
            folder
            for region in self.regions
            for folder in (self.pgdata(region.name), self.valkey_dir(region.name))
        )

    def ports(self) -> Iterator[tuple[int, str]]:
        """Every port that the fleet listens on, with what listens there."""
        yield self.edge_port, "envoy"
        yield self.edge_admin_port, "envoy's admin interface"
        for region in self.regions:
            yield region.web_port, f"{region.name}:web"
            yield region.postgres_port, f"{region.name}:postgres"
            yield region.valkey_port, f"{region.name}:valkey"
        for link in self.links:
            yield link.port, f"wan {link.source}→{link.target}"
        for store in self.store_links:
            yield store.port, f"wan to etcd at {store.name}"


def make_plan(
    state: Path,
    *,
    regions: int = 3,
    port_base: int = DEFAULT_PORT_BASE,
    data: Path | None = None,
    etcd: Sequence[str] = (),
) -> Plan:
    """The plan of a fleet of `regions` regions from `port_base` on. Raises PlanError."""
    if not 1 <= regions <= len(_PLACES):
        raise PlanError(f"A local fleet has 1 to {len(_PLACES)} regions, not {regions}.")
    if not 1024 <= port_base <= 65535 - PORT_SPAN:
        raise PlanError(f"The port base must be within 1024..{65535 - PORT_SPAN}, not {port_base}.")
    if len(etcd) > MOST_MEMBERS:
        raise PlanError(f"A local fleet has {MOST_MEMBERS} members of etcd at most.")
    planned = tuple(
        RegionPlan(
            name=name,
            country=country,
            jurisdiction=jurisdiction,
            node=node,
            web_port=port_base + 10 * node,
            postgres_port=port_base + 10 * node + 1,
            valkey_port=port_base + 10 * node + 2,
        )
        for node, (name, country, jurisdiction) in enumerate(_PLACES[:regions], start=1)
    )
    links = tuple(
        LinkPlan(a.name, b.name, port_base + 100 + 10 * a.node + b.node)
        for a in planned
        for b in planned
        if a is not b
    )
    return Plan(state, data or state / "regions", port_base, planned, links, tuple(etcd))


def deployment_document(plan: Plan, *, through_wan: bool = True) -> dict[str, Any]:
    """The `deployment.json` of this plan.

    Without the WAN proxy (`through_wan=False`) a link is the other region's PostgreSQL itself, and
    a member of etcd is where it says.
    """
    ports = {link.name: link.port for link in plan.store_links} if through_wan else {}
    members = [
        f"http://{HOST}:{ports[name]}" if (name := urlsplit(url).netloc) in ports else url
        for url in plan.etcd
    ]
    return {
        "domain": "localhost",
        "lease_ttl_seconds": LEASE_TTL_SECONDS,
        **({"lease_store": {"etcd": members}} if plan.etcd else {}),
        "edge": _endpoint(plan.edge_port),
        # Nobody's customers live here.
        "drills": {
            "tool": ["python", "-m", "infra.fleet"],
            "synthetic": ["*"],
        },
        "regions": [
            {
                "name": region.name,
                "country": region.country,
                "jurisdiction": region.jurisdiction,
                "node": region.node,
                "web": _endpoint(region.web_port),
                "postgres": _endpoint(region.postgres_port),
                "valkey": _endpoint(region.valkey_port),
                "map_dir": f"regions/{region.name}/map",
                "files": {"folder": f"regions/{region.name}/files"},
            }
            for region in plan.regions
        ],
        "links": [
            {
                "from": link.source,
                "to": link.target,
                **_endpoint(link.port if through_wan else plan.region(link.target).postgres_port),
            }
            for link in plan.links
        ],
        "store_links": [
            {"to": link.name, **_endpoint(link.port), "at": {"host": link.host, "port": link.at}}
            for link in plan.store_links
            if through_wan
        ],
    }


def _endpoint(port: int) -> dict[str, Any]:
    return {"host": HOST, "port": port}
