"""What the production web server runs: `granian --interface wsgi config.wsgi:application`."""

import gc

from config import env

env.use_settings()

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()

# What is there now stays: the collector need not look at it again and again.
gc.collect()
gc.freeze()
