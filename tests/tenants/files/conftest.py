"""Regions' stores: folders as in the local fleet, and buckets of an S3-compatible server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from django.core.files.storage import Storage
from moto.server import ThreadedMotoServer

from regions.deployment import FileStore
from tenants.files.places import forget


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Where the server is, with a bucket a region."""
    kept = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    for region in ("eu-west", "eu-central", "us-east"):
        client.create_bucket(Bucket=f"files-{region}")
    yield endpoint
    server.stop()
    for name, value in kept.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(params=["folder", "bucket"])
def stores(request, settings, tmp_path) -> Iterator[str]:
    """Every region's store is of this kind, and empty."""
    where = settings.MERIDIAN_DEPLOYMENT
    if request.param == "folder":
        places = {name: FileStore(folder=tmp_path / name) for name in where.regions}
    else:
        endpoint = request.getfixturevalue("s3")
        places = {
            name: FileStore(bucket=f"files-{name}", endpoint=endpoint, location="us-east-1")
            for name in where.regions
        }
    regions = {name: replace(site, files=places[name]) for name, site in where.regions.items()}
    forget()
    settings.MERIDIAN_DEPLOYMENT = replace(where, regions=regions)
    yield request.param
    forget()


def read(store: Storage, name: str) -> bytes:
    with store.open(name) as file:
        return bytes(file.read())
