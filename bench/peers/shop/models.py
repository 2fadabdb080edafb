from django.db import models


class Item(models.Model):
    title = models.CharField(max_length=80)
    body = models.TextField()
    price = models.IntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.title
