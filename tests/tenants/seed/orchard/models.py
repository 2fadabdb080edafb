"""Ordinary models."""

from __future__ import annotations

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Kind(models.Model):
    name = models.CharField(max_length=50, unique=True)


class Tree(models.Model):
    kind = models.ForeignKey(Kind, models.CASCADE)
    near = models.ForeignKey("self", models.SET_NULL, null=True)
    about = models.ForeignKey(ContentType, models.CASCADE, null=True)
    keeper = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True)
    height = models.IntegerField(default=0)
