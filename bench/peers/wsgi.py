"""What the peers' web server runs; DJANGO_SETTINGS_MODULE is `peer_plain` or `peer_tenants`."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
