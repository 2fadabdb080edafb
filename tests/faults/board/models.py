"""Ordinary models, one for each thing that may go wrong between regions."""

from __future__ import annotations

from django.db import models

from tenants.merging import merge_rules


class Entry(models.Model):
    """What an operation did, written in its own transaction: who was told "maybe" is here or not.
    `about` is the thing that it was done to, `seen` what it knowingly replaced; `stamp` is what the
    fabric gave its write."""

    id = models.BigIntegerField(primary_key=True)
    about = models.CharField(max_length=60, db_index=True)
    seen = models.JSONField(default=list)
    stamp = models.BigIntegerField(default=0)


class Tag(models.Model):
    name = models.CharField(max_length=40)


@merge_rules(votes="counter")
class Card(models.Model):
    title = models.CharField(max_length=60, db_index=True, default="")
    status = models.CharField(max_length=60, default="")
    body = models.TextField(default="")
    votes = models.IntegerField(default=0)
    tags = models.ManyToManyField(Tag)


class Slot(models.Model):
    """Put, taken, and put again under the same key."""

    value = models.CharField(max_length=60)


class Note(models.Model):
    """Written in one region, changed in another that has heard of it."""

    text = models.CharField(max_length=60)
    mark = models.CharField(max_length=60, default="")


class Claim(models.Model):
    name = models.CharField(max_length=60, unique=True)


@merge_rules(balance="counter")
class Account(models.Model):
    balance = models.IntegerField(default=0)


@merge_rules(stock="bounded")
class Shelf(models.Model):
    stock = models.PositiveIntegerField(default=0)


class Parcel(models.Model):
    """Many rows of one transaction."""

    batch = models.BigIntegerField(db_index=True)


class Topic(models.Model):
    name = models.CharField(max_length=60)


class Reply(models.Model):
    topic = models.ForeignKey(Topic, models.CASCADE)
