"""Apps that can't work in a cell are refused before there is one."""

from __future__ import annotations

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.test.utils import isolate_apps

from regions.replication import rules
from tenants import merging
from tenants.checks import columns_are_free, rules_fit
from tests.regions.replication import functions


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


@isolate_apps("tests.tenants.shop", attr_name="isolated")
def test_a_rule_on_a_field_that_cannot_have_it_is_refused():
    class Stock(models.Model):
        name = models.CharField(max_length=9)
        sku = models.IntegerField(unique=True)
        left = models.IntegerField(null=True)
        sold = models.IntegerField(default=0)
        tags = ArrayField(models.CharField(max_length=9))
        rows = ArrayField(ArrayField(models.IntegerField()))

        class Meta:
            app_label = "shop"

    wrong = {"name": "counter", "sku": "max", "left": "counter", "sold": "sum", "gone": "max"}
    wrong |= {"tags": "counter", "rows": "set"}
    for field, rule in [
        *wrong.items(),
        ("sold", "bounded:no"),
        ("sold", "counter:3"),
        ("name", "resolve:x@1"),
    ]:
        assert len(list(merging.problems(Stock, field, rule))) == 1, field
    for rule in ("counter", "bounded", "bounded:-5"):
        assert list(merging.problems(Stock, "sold", rule)) == []
    assert list(merging.problems(Stock, "tags", "set")) == []
    assert list(merging.problems(Stock, "left", "keep_both")) == []
    assert list(merging.problems(Stock, "left", merging.rule_of(functions.union))) == []


def test_a_rule_for_a_model_that_is_not_installed_is_refused(settings):
    settings.MERIDIAN_MERGE_RULES = {"auth.Nobody": {"age": "max"}}
    assert [message.id for message in rules_fit()] == ["tenants.E002"]
    settings.MERIDIAN_MERGE_RULES = {"auth.User": {"username": "counter"}}
    assert [message.id for message in rules_fit()] == ["tenants.E003"]


def test_the_rules_of_this_projects_models_reach_the_fabric():
    assert rules_fit() == []
    assert rules.declared("desk_ticket", {"votes", "title"}) == {"votes": "counter"}
    assert rules.declared("desk_ticket_tags", {"tag_id"}) == {"*": "set:tag_id,ticket_id"}
