"""Django's settings: one set for every environment; what differs comes from the deployment.

Importable without a fleet (lint, types, makemigrations): then MERIDIAN_DEPLOYMENT is None.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from config import env, logs
from config.databases import control_database, home_site
from console import theme
from regions.deployment import Deployment, load

_ENV = env.read()
BASE_DIR: Path = env.ROOT
DEBUG = _ENV.debug

# --- The deployment --------------------------------------------------------------------------
MERIDIAN_DEPLOYMENT: Deployment | None = (
    load(_ENV.deployment_path, etcd_password=_ENV.etcd_password)
    if _ENV.deployment_path.exists()
    else None
)
MERIDIAN_REGION: str | None = _ENV.region
_SITE = home_site(MERIDIAN_DEPLOYMENT, MERIDIAN_REGION) if MERIDIAN_DEPLOYMENT else None
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LOCAL = MERIDIAN_DEPLOYMENT is None or MERIDIAN_DEPLOYMENT.edge.host in _LOOPBACK

# --- Apps ------------------------------------------------------------------------------------
# Tables of the shared apps are in the control cell, those of the tenant apps in each cell.
SHARED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "regions",
    "tenants",
    "console",
]
TENANT_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    "gateway.idempotency",
    "desk",
]
# `ninja` serves the API's documentation page from a region's processes instead of a CDN. An
# operator's command serves no page, and starts a quarter sooner without it.
_PAGES = ["ninja"] if MERIDIAN_REGION else []
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS, *_PAGES]))

# Bookkeeping that each replica keeps for itself; never replicated.
MERIDIAN_LOCAL_TABLES = frozenset(
    {
        "django_migrations",
        "django_content_type",
        "auth_permission",
        "django_session",
        "django_admin_log",
    }
)

# How fields of other people's models are merged: {"app.Model": {"field": "counter"}}. Your own say
# so themselves (docs/how-to/merge-rules.md).
MERIDIAN_MERGE_RULES: dict[str, dict[str, str]] = {}

# How far writes have to have got before their clients hear of them: "local" or "remote", by model,
# view, or "*" for all others (docs/how-to/durability.md). A request's X-Durability goes before it.
MERIDIAN_DURABILITY: dict[str, str] = {}

# PostgreSQL extensions that your apps' migrations ask for. A migration can't make them: they belong
# to the database, and in a schema cell a migration works for one tenant.
MERIDIAN_EXTENSIONS: list[str] = []

# --- Databases -------------------------------------------------------------------------------
# `default` is the tenant's cell while one is in scope (tenants/connections.py); `control` never.
DATABASES: dict[str, dict[str, Any]] = {
    alias: control_database(MERIDIAN_DEPLOYMENT, MERIDIAN_REGION)
    for alias in ("default", "control")
}
# What differs from the usual bounds of a process' connections to cells (tenants/backend/pool.py).
MERIDIAN_POOL: dict[str, Any] = {}
DATABASE_ROUTERS = ["tenants.router.TenantRouter"]
# `/*tenant='acme'*/` before a tenant's statements: for whoever reads the server's activity or log.
MERIDIAN_SQL_COMMENTS = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Requests --------------------------------------------------------------------------------
MIDDLEWARE = [
    "gateway.front.front_middleware",
    "django.middleware.security.SecurityMiddleware",
    "gateway.static.static_middleware",
    "gateway.middleware.tenant_middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "gateway.transactions.transaction_middleware",
]
ROOT_URLCONF = "config.urls"
MERIDIAN_TENANT_URLCONF = "config.urls_tenant"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
# An ASGI application for tenants' websockets, by its dotted path (gateway/websockets.py).
MERIDIAN_WEBSOCKETS: str | None = None
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Security --------------------------------------------------------------------------------
SECRET_KEY = (
    MERIDIAN_DEPLOYMENT.secrets.derive("django").hex()
    if MERIDIAN_DEPLOYMENT
    else secrets.token_urlsafe(50)
)
# The gateway checks hosts: a tenant's against the directory, the console's against this list.
ALLOWED_HOSTS = ["*"]
MERIDIAN_CONSOLE_HOSTS = frozenset(
    {"127.0.0.1", "localhost", "[::1]"}
    | (
        {
            MERIDIAN_DEPLOYMENT.domain,
            MERIDIAN_DEPLOYMENT.edge.host,
            *(site.web.host for site in MERIDIAN_DEPLOYMENT.regions.values()),
        }
        if MERIDIAN_DEPLOYMENT
        else set()
    )
)
CSRF_TRUSTED_ORIGINS = (
    [
        f"{'http' if _LOCAL else 'https'}://{host}:{MERIDIAN_DEPLOYMENT.edge.port}"
        for host in (
            MERIDIAN_DEPLOYMENT.edge.host,
            MERIDIAN_DEPLOYMENT.domain,
            f"*.{MERIDIAN_DEPLOYMENT.domain}",
        )
    ]
    if MERIDIAN_DEPLOYMENT
    else []
)
# No cookie names a domain, so a browser sends each one back to its own host only. On a loopback
# edge there is no TLS: secure cookies would never come back.
SESSION_ENGINE = "gateway.sessions"
SESSION_COOKIE_NAME = "meridian_session"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not _LOCAL
# In the tenant's own session: a cookie would be signed with the key that all tenants share, and
# the storage that tries one first costs each request a signer.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_COOKIE_NAME = "meridian_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "gateway.errors.csrf_failure"
SECURE_PROXY_SSL_HEADER = None if _LOCAL else ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 0 if _LOCAL else 31_536_000
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/admin/login/"
# As much as the edge buffers for a handoff.
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024

# --- The admins' looks: the tenants' and the console's ------------------------------------------
UNFOLD = theme.UNFOLD
UNFOLD_CONSOLE = theme.UNFOLD_CONSOLE

# --- Static files: straight from the installed packages, no collect step ----------------------
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# --- Tenants' files: in the store of their cell's home region -----------------------------------
STORAGES = {
    "default": {"BACKEND": "tenants.files.storage.TenantStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
MEDIA_URL = "/files/"
MERIDIAN_FILE_LINK_SECONDS = 3600

# --- Language and time -----------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# --- Cache -----------------------------------------------------------------------------------
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "gateway.cache.RedisCache",
        "LOCATION": _SITE.valkey_url(2),
        "KEY_FUNCTION": "gateway.cache.tenant_key",
        "TIMEOUT": 300,
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
    if _SITE
    else {
        "BACKEND": "gateway.cache.LocMemCache",
        "KEY_FUNCTION": "gateway.cache.tenant_key",
    }
}

# --- Spares ----------------------------------------------------------------------------------
# How many places stand ready for tenants who are yet to come: `schema` in each schema cell,
# `dedicated` for each set of regions and write policy that customers have a cell of their own in.
# `schema:CELL` and `dedicated:RESIDENCY:POLICY` set the number for one of them. A dedicated one
# costs a database, a lease and a few sessions in each of its regions: that is for you to want.
MERIDIAN_SPARES: dict[str, int] = {"schema": 2, "dedicated": 0}

# --- Tasks -----------------------------------------------------------------------------------
# A tenant's tasks need nothing of it; these work for no tenant.
MERIDIAN_CONTROL_TASKS = ("tenants.tasks.*", "console.tasks.*", "celery.backend_cleanup")
# Patterns of the names of those that are in their region's broker only. All other tasks of tenants
# are kept in their cell, too, until they have ended (docs/how-to/background-work.md).
MERIDIAN_UNKEPT_TASKS: tuple[str, ...] = ()
# How many tasks of one tenant may run at a time in a region; 0 is no limit.
MERIDIAN_TENANT_TASKS = 8
CELERY_BROKER_URL = _SITE.valkey_url(0) if _SITE else "memory://"
CELERY_BROKER_TRANSPORT = "tenants.celery.broker:Transport" if _SITE else None
CELERY_RESULT_BACKEND = (
    f"tenants.celery.results.TenantBackend+{_SITE.valkey_url(1)}" if _SITE else "cache+memory://"
)
CELERY_TASK_DEFAULT_QUEUE = _SITE.name if _SITE else "default"
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 300
CELERY_TASK_TIME_LIMIT = 330
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_RESULT_EXPIRES = 3600
CELERY_TIMEZONE = TIME_ZONE
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Longer than the time limit: a task that still runs must not be delivered twice.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "socket_connect_timeout": 2,
    "tenant_concurrency": MERIDIAN_TENANT_TASKS,
}


def _every(seconds: float, task: str, *, of: str = "tenants") -> dict[str, Any]:
    """One that nobody has looked at when the next is due has expired."""
    options = {"expires": seconds - 0.5, "ignore_result": True}
    return {"task": f"{of}.tasks.{task}", "schedule": seconds, "options": options}


CELERY_BEAT_SCHEDULE = {
    "fill-pools": _every(15.0, "fill_pools"),
    "resume-operations": _every(30.0, "resume_operations"),
    "end-lost-operations": _every(15.0, "end_lost_operations", of="console"),
    "start-tenant-jobs": _every(5.0, "start_tenant_jobs"),
    "take-over-tasks": _every(3.0, "take_over_tasks"),
    "start-drills": _every(20.0, "start_drills"),
}
# Periodic tasks that run for each tenant: {name: {"task", "schedule", "missed", "spread", …}}.
MERIDIAN_TENANT_BEAT: dict[str, dict[str, Any]] = {}

# --- Mail: a wrapper sends in the tenant's name through Django's backend -----------------------
EMAIL_BACKEND = "tenants.mail.EmailBackend"
# On a loopback edge nobody is written to: mails are files.
MERIDIAN_MAIL_BACKEND = (
    f"django.core.mail.backends.{'filebased' if _LOCAL else 'smtp'}.EmailBackend"
)
EMAIL_FILE_PATH = str(_ENV.state_dir / "mail")
# A function of the tenant's record that gives its address.
MERIDIAN_MAIL_FROM = "tenants.mail.subdomain_address"

# --- Logs ------------------------------------------------------------------------------------
LOGGING = logs.configuration(level=_ENV.log_level, region=MERIDIAN_REGION or "operator")
