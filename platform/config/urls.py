"""URLs of every host that is not a tenant's: the operator console and the metrics.

Health is answered before routing, static files by WhiteNoise.
"""

from django.urls import path
from django.views.generic import RedirectView

from console.site import console_site
from gateway.errors import bad_request, forbidden, not_found, server_error
from gateway.metrics import metrics_view

urlpatterns = [
    path("console/", console_site.urls),
    path("metrics", metrics_view, name="metrics"),
    path("", RedirectView.as_view(url="/console/"), name="home"),
]

handler400 = bad_request
handler403 = forbidden
handler404 = not_found
handler500 = server_error
