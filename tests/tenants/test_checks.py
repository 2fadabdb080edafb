"""Apps that can't work in a cell are refused before there is one."""

from __future__ import annotations

from django.apps import apps
from django.db import models
from django.test.utils import isolate_apps

from tenants.checks import columns_are_free


def test_the_apps_of_this_project_are_accepted():
    assert columns_are_free() == []


@isolate_apps("tests.tenants.shop", attr_name="isolated")
def test_a_column_of_the_platforms_is_refused_and_a_way_out_is_named(monkeypatch):
    class Lease(models.Model):
        tenant = models.ForeignKey("self", models.CASCADE)
        stamp = models.IntegerField(db_column="_stamp")

        class Meta:
            app_label = "shop"

    config = apps.get_app_config("shop")
    monkeypatch.setattr(config, "get_models", lambda **_: [Lease])
    found = columns_are_free([config])
    assert [message.id for message in found] == ["tenants.E001", "tenants.E001"]
    assert found[0].hint == 'Give the field another column: db_column="tenant_id_".'
