"""Ordinary models: nothing in them knows of tenants."""

from __future__ import annotations

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeOperators
from django.contrib.postgres.indexes import BrinIndex, GinIndex, GistIndex, HashIndex, SpGistIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now

from tenants.merging import merge_rules
from tests.tenants.shop.joining import every_line


class Supplier(models.Model):
    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100, db_comment="as on the invoice")


@merge_rules(text=every_line)
class Note(models.Model):
    """On anything."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    about = GenericForeignKey()
    text = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["content_type", "object_id"], name="shop_note_about")]


@merge_rules(stock="bounded", labels="set", facts="keep_both")
class Product(models.Model):
    sku = models.CharField(max_length=20)
    name = models.CharField(max_length=100)
    supplier = models.ForeignKey(
        Supplier, models.PROTECT, to_field="code", null=True, related_name="products"
    )
    price = models.DecimalField(max_digits=8, decimal_places=2, default=1)
    stock = models.IntegerField(db_default=0)
    worth = models.GeneratedField(
        expression=F("price") * F("stock"),
        output_field=models.DecimalField(max_digits=16, decimal_places=2),
        db_persist=True,
    )
    slot = models.IntegerField(null=True)
    listed_at = models.DateTimeField(db_default=Now(), db_index=True)
    retired = models.BooleanField(default=False)
    labels = ArrayField(models.CharField(max_length=20), default=list)
    facts = models.JSONField(default=dict)
    goes_with = models.ManyToManyField("self")
    replaces = models.ForeignKey("self", models.SET_NULL, null=True, related_name="replaced_by")
    notes = GenericRelation(Note)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0), name="shop_product_price"),
            models.UniqueConstraint(
                fields=["sku"], condition=Q(retired=False), name="shop_product_sku"
            ),
            models.UniqueConstraint(Lower("name"), "supplier", name="shop_product_name"),
            models.UniqueConstraint(
                fields=["sku", "name"], include=["price"], name="shop_covering"
            ),
            models.UniqueConstraint(fields=["slot"], nulls_distinct=True, name="shop_slot"),
            models.UniqueConstraint(
                fields=["sku", "slot"], nulls_distinct=False, name="shop_sku_slot"
            ),
        ]
        indexes = [
            GinIndex(fields=["facts"], name="shop_facts"),
            GinIndex(fields=["labels"], name="shop_labels"),
            HashIndex(fields=["sku"], name="shop_sku_hash"),
            BrinIndex(fields=["listed_at"], name="shop_listed"),
            SpGistIndex(fields=["name"], name="shop_name_sp"),
            models.Index(F("price").desc(), Lower("name"), name="shop_price"),
        ]


class Place(models.Model):
    """Its order can be swapped within one transaction."""

    shelf = models.IntegerField()
    position = models.IntegerField()
    product = models.OneToOneField(Product, models.CASCADE, null=True)

    class Meta:
        unique_together = [("shelf", "product")]
        constraints = [
            models.UniqueConstraint(
                fields=["shelf", "position"],
                deferrable=models.Deferrable.DEFERRED,
                name="shop_place_position",
            )
        ]


class Booking(models.Model):
    room = models.IntegerField()
    during = DateTimeRangeField()
    cancelled = models.BooleanField(default=False)

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="shop_booking_overlap",
                expressions=[
                    ("room", RangeOperators.EQUAL),
                    ("during", RangeOperators.OVERLAPS),
                ],
                condition=Q(cancelled=False),
                violation_error_message="The room is taken.",
            )
        ]
        indexes = [GistIndex(fields=["during"], name="shop_during")]


class Person(models.Model):
    name = models.CharField(max_length=100)


class Employee(Person):
    """Multi-table inheritance: the key is a reference."""

    badge = models.CharField(max_length=20, unique=True)


class Parcel(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    sent_by = models.ForeignKey(Employee, models.CASCADE, null=True)


class Rate(models.Model):
    pk = models.CompositePrimaryKey("country", "year")
    country = models.CharField(max_length=2)
    year = models.IntegerField()
    percent = models.IntegerField()
