"""The same application for an ASGI server: `granian --interface asgi config.asgi:application`."""

from config import env

env.use_settings()

from gateway.asgi import entry  # noqa: E402

application = entry()
