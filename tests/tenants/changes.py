"""Changes of the shop's structure in two steps: what is added; what is changed and removed."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Lower, Upper

ADDED = [
    migrations.CreateModel(
        "Branch",
        [
            ("id", models.AutoField(primary_key=True)),
            ("code", models.CharField(max_length=9, unique=True)),
            ("supplier", models.ForeignKey("shop.Supplier", models.CASCADE, to_field="code")),
            ("kind", models.ForeignKey("contenttypes.ContentType", models.CASCADE, null=True)),
            ("parent", models.ForeignKey("self", models.CASCADE, null=True)),
            ("products", models.ManyToManyField("shop.Product", related_name="branches")),
        ],
        options={"unique_together": {("supplier", "code")}},
    ),
    migrations.AddField(
        "Product", "branch", models.ForeignKey("shop.Branch", models.SET_NULL, null=True)
    ),
    migrations.AddField(
        "Product", "maker", models.ForeignKey("shop.Supplier", models.SET_NULL, null=True)
    ),
    migrations.AddField("Person", "boss", models.OneToOneField("self", models.SET_NULL, null=True)),
    migrations.AddField("Person", "nick", models.CharField(max_length=9, null=True, unique=True)),
    migrations.AddField(
        "Person", "serial", models.CharField(max_length=9, default="-", unique=True)
    ),
    migrations.AddField("Supplier", "rating", models.IntegerField(default=3)),
    migrations.AddField("Supplier", "city", models.CharField(max_length=20, null=True)),
    migrations.AddField("Supplier", "note", models.CharField(max_length=9, db_default="none")),
    migrations.AddField(
        "Supplier",
        "shown",
        models.GeneratedField(
            expression=Upper("name"), output_field=models.TextField(), db_persist=True
        ),
    ),
    migrations.AddField("Supplier", "partners", models.ManyToManyField("self")),
]
CHANGED = [
    migrations.AlterField(
        "Supplier", "city", models.CharField(max_length=20, default="Paris", db_index=True)
    ),
    migrations.RemoveField("Supplier", "shown"),
    migrations.AlterField("Supplier", "name", models.TextField(db_comment="in full")),
    migrations.AlterField("Supplier", "code", models.CharField(max_length=40, unique=True)),
    migrations.AlterField("Branch", "id", models.BigAutoField(primary_key=True)),
    migrations.AlterField("Person", "name", models.CharField(max_length=100, unique=True)),
    migrations.AlterField("Employee", "badge", models.CharField(max_length=20)),
    migrations.AlterField("Place", "shelf", models.BigIntegerField(db_index=True)),
    migrations.AlterField("Place", "product", models.ForeignKey("shop.Product", models.CASCADE)),
    migrations.AlterUniqueTogether("Place", {("product", "position")}),
    migrations.AlterUniqueTogether("Branch", set()),
    migrations.RemoveConstraint("Product", "shop_product_sku"),
    migrations.RemoveConstraint("Product", "shop_slot"),
    migrations.RemoveConstraint("Booking", "shop_booking_overlap"),
    migrations.RemoveIndex("Product", "shop_sku_hash"),
    migrations.RenameField("Product", "sku", "article"),
    migrations.RenameModel("Supplier", "Vendor"),
    migrations.AddConstraint(
        "Product",
        models.UniqueConstraint(Lower("article"), name="shop_article", condition=Q(retired=False)),
    ),
    migrations.AddConstraint(
        "Product",
        models.UniqueConstraint(
            fields=["article", "maker"], name="shop_made", nulls_distinct=False
        ),
    ),
    migrations.AddConstraint(
        "Product", models.CheckConstraint(condition=Q(price__lt=1000), name="shop_cheap")
    ),
    migrations.AddConstraint(
        "Booking",
        ExclusionConstraint(
            name="shop_no_overlap", index_type="spgist", expressions=[("during", "&&")]
        ),
    ),
    migrations.AddIndex("Product", models.Index(F("name").desc(), name="shop_by_name")),
    migrations.RenameIndex("Product", new_name="shop_by_price", old_name="shop_price"),
    migrations.RemoveField("Parcel", "sent_by"),
    migrations.DeleteModel("Note"),
]
