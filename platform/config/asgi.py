"""The same application for an ASGI server."""

from config import env

env.use_settings()

from django.core.asgi import get_asgi_application  # noqa: E402

application = get_asgi_application()
