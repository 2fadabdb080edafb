"""URLs of a tenant's hosts: its landing page, its admin, its API and its files."""

from django.contrib import admin
from django.urls import path

from desk.api import api
from desk.views import landing
from gateway.errors import bad_request, forbidden, not_found, server_error
from gateway.files import serve

urlpatterns = [
    path("", landing, name="landing"),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("files/<path:name>", serve, name="file"),
]

handler400 = bad_request
handler403 = forbidden
handler404 = not_found
handler500 = server_error
