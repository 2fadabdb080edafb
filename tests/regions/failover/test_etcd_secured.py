"""etcd with TLS and users: agents show a certificate and a password, and say what is wrong."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.fleet.plan import deployment_document
from regions.deployment import ETCD_PASSWORD, LeaseStore, parse
from regions.errors import DeploymentError
from regions.failover.etcd import Etcd, all_below, put
from regions.failover.etcd_acceptor import EtcdAcceptor
from regions.failover.lease import Leases
from regions.failover.link import Unreachable
from testkit.debian import NotToBeHad
from tests.etcd import Cluster, Tls, programs, running
from tests.regions.failover.stores import LaterThanFirst
from tests.settings import TEST_GUARD, TEST_PLAN

USER, RIGHT = "agents", "correct horse"
SECRETS = {"passwords": {}, "master_key": "00", "operator_password": "x"}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, LeaseStore]]:
    """A cluster of one that wants certificates, a user and its password."""
    folder = tmp_path_factory.mktemp("secured")
    if shutil.which("openssl") is None:
        pytest.skip("NO ETCD WITH TLS IS TESTED ON THIS MACHINE: there is no openssl")
    try:
        programs()
    except NotToBeHad as reason:
        pytest.skip(f"NO ETCD WITH TLS IS TESTED ON THIS MACHINE: {reason}")
    tls = certificates(folder)
    with running(folder / "data", TEST_GUARD, members=1, tls=tls) as cluster:
        for words in (
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("role", "add", "leases"),
            ("role", "grant-permission", "leases", "--prefix=true", "readwrite", "meridian/"),
            ("user", "add", f"{USER}:{RIGHT}"),
            ("user", "grant-role", USER, "leases"),
            ("auth", "enable"),
        ):
            cluster.control(*words)
        cluster.user = "root:secret"
        yield (
            cluster,
            LeaseStore(tuple(cluster.urls), tls.ca, tls.certificate, tls.key, USER, RIGHT),
        )


def certificates(folder: Path) -> Tls:
    """An authority of its own and what it vouches for: members of 127.0.0.1, and clients."""
    ca, key = folder / "ca.pem", folder / "ca.key"
    run_openssl("-subj", "/CN=authority", "-keyout", key, "-out", ca)
    return issued(folder, ca, key, "/O=agents")


def issued(folder: Path, ca: Path, ca_key: Path, subject: str) -> Tls:
    made = Tls(ca, folder / "own.pem", folder / "own.key")
    of_whom = ("-subj", subject, "-addext", "subjectAltName=IP:127.0.0.1")
    by_whom = ("-addext", "basicConstraints=critical,CA:FALSE", "-CA", ca, "-CAkey", ca_key)
    run_openssl(*of_whom, *by_whom, "-keyout", made.key, "-out", made.certificate)
    return made


def run_openssl(*words: str | Path) -> None:
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    subprocess.run([*new, *words], check=True, capture_output=True)


def ask(store: LeaseStore) -> None:
    """One transaction below `meridian/`."""

    async def run() -> None:
        etcd = Etcd(store, timeout=60)
        try:
            await etcd.transact([], [put("meridian/x", "y"), all_below("meridian/")])
        finally:
            await etcd.close()

    asyncio.run(run())


def test_leases_are_got_and_kept_with_a_certificate_and_a_password(
    secured: tuple[Cluster, LeaseStore],
) -> None:
    cluster, store = secured

    async def run() -> None:
        etcd = Etcd(store, timeout=60)
        acceptor = EtcdAcceptor(etcd, "a", 300, clock=LaterThanFirst(300))
        leases = Leases("a", 1, {"etcd": acceptor}, 300)
        await leases.observe([])
        held = await leases.acquire(["secured"])
        assert await leases.renew(held.values())
        # A member that was restarted knows no token: a new one is got.
        await asyncio.to_thread(again, cluster)
        assert await leases.renew(held.values())
        await etcd.close()

    asyncio.run(run())


def again(cluster: Cluster) -> None:
    cluster.kill()
    cluster.start()
    cluster.await_leader()


def test_what_is_wrong_is_said(
    secured: tuple[Cluster, LeaseStore],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, store = secured
    stranger = certificates(tmp_path)

    def refused(store: LeaseStore) -> str:
        with pytest.raises(Unreachable) as refusal:
            ask(store)
        return str(refusal.value)

    assert f"is {ETCD_PASSWORD} its password?" in refused(replace(store, password="wrong"))
    assert f"is {ETCD_PASSWORD} its password?" in caplog.text
    assert "name one in lease_store" in refused(replace(store, user=""))
    wrong = refused(replace(store, ca=stranger.ca))
    assert f"a certificate that {stranger.ca} does not vouch for" in wrong
    unknown = replace(store, certificate=stranger.certificate, key=stranger.key)
    # Or the connection is gone before the reason comes.
    assert "etcd does not answer" in refused(unknown)
    (tmp_path / "named").mkdir()
    assert store.ca is not None
    named = issued(tmp_path / "named", store.ca, store.ca.with_name("ca.key"), "/CN=agents")
    shown = replace(store, certificate=named.certificate, key=named.key)
    assert f"no certificate with a common name, as {named.certificate} has" in refused(shown)
    ask(store)


def test_a_user_without_a_password_and_a_file_that_is_not_there_are_refused_at_once(
    tmp_path: Path,
) -> None:
    members = ("https://127.0.0.1:1",)
    with pytest.raises(DeploymentError, match=ETCD_PASSWORD):
        Etcd(LeaseStore(members, user=USER), timeout=1)
    with pytest.raises(DeploymentError, match=r"ca\.pem can't be used"):
        Etcd(LeaseStore(members, ca=tmp_path / "ca.pem"), timeout=1)


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ({"etcd": ["http://e:1"], "ca": "ca.pem"}, "must be https"),
        ({"etcd": ["https://e:1"], "certificate": "c.pem"}, "needs both"),
        ({"etcd": ["https://e:1"], "password": "x"}, "or is left out"),
    ],
)
def test_settings_that_make_no_sense_are_refused(entry: dict[str, Any], wrong: str) -> None:
    document = {**deployment_document(TEST_PLAN), "lease_store": entry}
    with pytest.raises(DeploymentError, match=wrong):
        parse(document, SECRETS, base=Path("/etc/meridian"))


def test_files_are_beside_the_deployment_document() -> None:
    entry = {"etcd": ["https://e:1/"], "ca": "etcd/ca.pem", "user": USER}
    document = {**deployment_document(TEST_PLAN), "lease_store": entry}
    found = parse(document, SECRETS, base=Path("/etc/meridian")).lease_store
    assert found == LeaseStore(("https://e:1",), Path("/etc/meridian/etcd/ca.pem"), user=USER)
