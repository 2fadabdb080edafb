"""The counted views under plain Django: what writes is a transaction, what reads is none."""

from django.db.transaction import non_atomic_requests
from django.urls import path

from tests.tenants.web.counted import pure, reading, writing

urlpatterns = [
    path("healthz/live", non_atomic_requests(pure)),
    path("reading", non_atomic_requests(reading)),
    path("counted-writing", writing),
    path("pure", non_atomic_requests(pure)),
]
