from django.db import models


class Oven(models.Model):
    name = models.CharField(max_length=40, unique=True)


class Loaf(models.Model):
    oven = models.ForeignKey(Oven, models.CASCADE)
    picture = models.FileField(blank=True)
