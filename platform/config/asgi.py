"""The same application for an ASGI server: `granian --interface asgi config.asgi:application`."""

import gc

from config import env

env.use_settings()

from gateway.asgi import entry  # noqa: E402

application = entry()

# What is there now stays: the collector need not look at it again and again.
gc.collect()
gc.freeze()
