"""Where things run: the endpoints of every region, read once from one JSON document.

The local fleet writes `deployment.json`; in production an operator or the infrastructure
code does. Pure apart from reading that file: no Django, no driver.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from regions.errors import DeploymentError, UnknownRegion

CONTROL_CELL = "control"
CONTROL_DATABASE = "control"

ETCD_PASSWORD = "MERIDIAN_ETCD_PASSWORD"  # noqa: S105 - the variable in which processes find it
JOURNAL_DAYS = 90.0
_PEM = ("ca", "certificate", "key")

ADMIN_ROLE = "postgres"
OWNER_ROLE = "meridian_owner"
APP_ROLE = "meridian_app"
AGENT_ROLE = "meridian_agent"
PEER_ROLE = "meridian_peer"  # nobody logs in as it: what all roles that replicate cells may


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address; `port` is a TCP port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class FileStore:
    """Where a region keeps tenants' files: a folder, or a bucket of an S3-compatible service
    (`endpoint` if it isn't AWS, `location` as that service names the place)."""

    folder: Path | None = None
    bucket: str | None = None
    endpoint: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class RegionSite:
    """One region's servers. `node` (1..31) is its number in stamps and sequences. `pooler`: a
    transaction pooler in front of `postgres`, for the application's sessions in cells."""

    name: str
    country: str
    jurisdiction: str
    node: int
    web: Endpoint
    postgres: Endpoint
    valkey: Endpoint
    map_dir: Path
    files: FileStore = FileStore()
    pooler: Endpoint | None = None

    @property
    def web_url(self) -> str:
        return f"http://{self.web.host}:{self.web.port}"

    def valkey_url(self, database: int = 0) -> str:
        return f"redis://{self.valkey.host}:{self.valkey.port}/{database}"


@dataclass(frozen=True, slots=True)
class Drills:
    """`tool`: the command that breaks and heals things, with the words of `infra.fleet` (`python`
    is the one that runs the drill). `synthetic`: patterns of slugs, of tenants made for drills."""

    tool: tuple[str, ...]
    synthetic: tuple[str, ...]
    folder: Path


@dataclass(frozen=True, slots=True)
class LeaseStore:
    """Who grants leases: the members of an etcd cluster (`etcd`: their URLs), or, where there are
    none, the regions' own PostgreSQL. `ca` vouches for the members, `certificate` and `key` for
    who asks (PEM files); `user` has a password, which is in no file."""

    etcd: tuple[str, ...] = ()
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords by role, and the master key that all signing keys derive from."""

    passwords: Mapping[str, str]
    master_key: str
    operator_password: str

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose (HKDF's extract step, RFC 5869)."""
        return hmac.new(self.master_key.encode(), purpose.encode(), hashlib.sha256).digest()


@dataclass(frozen=True)
class Deployment:
    """Every region's endpoints, the edge, the links between regions, and the secrets.

    `links[(a, b)]` is where region `a` reaches region `b`'s PostgreSQL: over the WAN, never
    directly. `pager`: the command that tells whoever is on call; see `failover/paging.py`.
    `journal_days`: so long agents' events, and what they were asked for, are kept.
    """

    domain: str
    edge: Endpoint
    regions: Mapping[str, RegionSite]
    links: Mapping[tuple[str, str], Endpoint]
    secrets: Secrets
    lease_ttl_seconds: float
    drills: Drills | None = None
    lease_store: LeaseStore = LeaseStore()
    pager: tuple[str, ...] = ()
    journal_days: float = JOURNAL_DAYS

    def region(self, name: str) -> RegionSite:
        """The named region's site. Raises UnknownRegion, naming those that exist."""
        try:
            return self.regions[name]
        except KeyError:
            known = ", ".join(self.regions)
            raise UnknownRegion(f"No region is called {name!r}. Regions: {known}.") from None

    @property
    def map_dirs(self) -> tuple[Path, ...]:
        """Every region's map folder; what `topology.read_leases` and `read_topology` take."""
        return tuple(site.map_dir for site in self.regions.values())

    def postgres_endpoint(self, region: str, *, seen_from: str | None = None) -> Endpoint:
        """Where `region`'s PostgreSQL is reached from region `seen_from` (None: on the spot)."""
        site = self.region(region)
        if seen_from is None or seen_from == region:
            return site.postgres
        return self.links[seen_from, region]

    def application_endpoint(self, region: str, *, seen_from: str | None = None) -> Endpoint:
        """Where the application works in `region`'s cells: behind the pooler, if there is one."""
        pooler = self.region(region).pooler
        if pooler is not None and seen_from in (None, region):
            return pooler
        return self.postgres_endpoint(region, seen_from=seen_from)

    def dsn(self, region: str, database: str, role: str, *, seen_from: str | None = None) -> str:
        """A libpq URI for `role` on `database` in `region`, as reached from `seen_from`."""
        return self._dsn(self.postgres_endpoint(region, seen_from=seen_from), database, role)

    def application_dsn(self, region: str, database: str, *, seen_from: str | None = None) -> str:
        """The application's own, by the way that it takes to a cell."""
        return self._dsn(self.application_endpoint(region, seen_from=seen_from), database, APP_ROLE)

    def _dsn(self, at: Endpoint, database: str, role: str) -> str:
        password = quote(self.password(role), safe="")
        return f"postgresql://{role}:{password}@{at.host}:{at.port}/{database}"

    def password(self, role: str) -> str:
        """The role's password; roles that are made later (replication) get a derived one."""
        known = self.secrets.passwords.get(role)
        return known or self.secrets.derive(f"password:{role}").hex()

    @cached_property
    def edge_url(self) -> str:
        return f"http://{self.edge.host}:{self.edge.port}"

    @property
    def console_url(self) -> str:
        return f"{self.edge_url}/console/"

    def probe_host(self, cell: str) -> str:
        """The host name that the edge routes to a cell's writer, as it does a tenant's."""
        return f"{cell}.cell.{self.domain}"

    def probe_token(self) -> str:
        """Only operators may write probes."""
        return self.secrets.derive("probe").hex()

    def context_key(self, cell: str) -> bytes:
        """Signs tenant contexts for one cell's databases: useless in another cell."""
        return self.secrets.derive(f"context:{cell}")


def load(path: Path, *, etcd_password: str = "") -> Deployment:
    """Read `deployment.json` and the `secrets.json` beside it; `etcd_password` is in neither.

    Raises DeploymentError with one line that says what is wrong.
    """
    try:
        document = json.loads(path.read_text())
        secrets = json.loads((path.parent / "secrets.json").read_text())
        found = parse(document, secrets, base=path.parent)
        return replace(found, lease_store=replace(found.lease_store, password=etcd_password))
    except FileNotFoundError as missing:
        raise DeploymentError(
            f"{missing.filename} does not exist: start the fleet with `make up` first."
        ) from None
    except (ValueError, KeyError, TypeError) as invalid:
        raise DeploymentError(f"{path} is not a valid deployment document: {invalid}") from invalid


def parse(document: Mapping[str, Any], secrets: Mapping[str, Any], *, base: Path) -> Deployment:
    """Build a validated Deployment; `base` anchors relative map folders."""
    regions = {
        entry["name"]: RegionSite(
            name=entry["name"],
            country=entry["country"],
            jurisdiction=entry["jurisdiction"],
            node=entry["node"],
            web=Endpoint(**entry["web"]),
            postgres=Endpoint(**entry["postgres"]),
            valkey=Endpoint(**entry["valkey"]),
            map_dir=base / entry["map_dir"],
            files=_file_store(entry.get("files") or {"folder": f"files/{entry['name']}"}, base),
            pooler=Endpoint(**entry["pooler"]) if entry.get("pooler") else None,
        )
        for entry in document["regions"]
    }
    nodes = [site.node for site in regions.values()]
    if len(set(nodes)) != len(nodes) or not all(1 <= node <= 31 for node in nodes):
        raise DeploymentError(f"Region nodes must be distinct and within 1..31, got {nodes}.")
    links = {
        (entry["from"], entry["to"]): Endpoint(entry["host"], entry["port"])
        for entry in document["links"]
    }
    missing = [f"{a}→{b}" for a in regions for b in regions if a != b and (a, b) not in links]
    if missing:
        raise DeploymentError(f"No link is declared for {', '.join(missing)}.")
    return Deployment(
        domain=document["domain"],
        edge=Endpoint(**document["edge"]),
        regions=regions,
        links=links,
        secrets=Secrets(
            passwords=secrets["passwords"],
            master_key=secrets["master_key"],
            operator_password=secrets["operator_password"],
        ),
        lease_ttl_seconds=float(document["lease_ttl_seconds"]),
        drills=_drills(document.get("drills"), base),
        lease_store=_lease_store(document.get("lease_store", {}), base),
        pager=tuple(document.get("pager", ())),
        journal_days=_journal_days(document.get("journal_days", JOURNAL_DAYS)),
    )


def _journal_days(days: float) -> float:
    if not days >= 1:
        raise DeploymentError(f"journal_days is 1 or more, not {days}.")
    return float(days)


def _lease_store(entry: Mapping[str, Any], base: Path) -> LeaseStore:
    members = entry.get("etcd", [])
    if entry.keys() - {"etcd", "user", *_PEM} or not isinstance(members, list):
        raise DeploymentError(
            'lease_store is {"etcd": [URL, …]}, perhaps with "ca", "certificate", "key" and '
            '"user", or is left out.'
        )
    urls = tuple(str(url).rstrip("/") for url in members)
    files = {name: base / entry[name] for name in _PEM if entry.get(name)}
    if files and not all(url.startswith("https://") for url in urls):
        raise DeploymentError("lease_store has certificates, so every etcd URL must be https://.")
    if ("certificate" in files) != ("key" in files):
        raise DeploymentError("lease_store needs both, a certificate and its key, or neither.")
    return LeaseStore(urls, **files, user=entry.get("user", ""))


def _drills(entry: Mapping[str, Any] | None, base: Path) -> Drills | None:
    if entry is None:
        return None
    return Drills(tuple(entry["tool"]), tuple(entry.get("synthetic", ())), base / "drills")


def _file_store(entry: Mapping[str, str], base: Path) -> FileStore:
    if ("folder" in entry) == ("bucket" in entry):
        raise DeploymentError("A region's files are either in a folder or in a bucket.")
    if "folder" in entry:
        return FileStore(folder=base / entry["folder"])
    return FileStore(
        bucket=entry["bucket"], endpoint=entry.get("endpoint"), location=entry.get("location")
    )
