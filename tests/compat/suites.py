"""The apps whose suites are run: what they are made of, and what their projects' settings say.

Imported by the children too, which have no other module of this repository's tests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CONTEXT = [
    f"django.{name}"
    for name in (
        "contrib.auth.context_processors.auth",
        "template.context_processors.debug",
        "template.context_processors.i18n",
        "template.context_processors.media",
        "template.context_processors.static",
        "template.context_processors.tz",
        "contrib.messages.context_processors.messages",
        "template.context_processors.request",
    )
]
_DJANGO = tuple(
    f"django.contrib.{name}"
    for name in ("contenttypes", "auth", "sessions", "messages", "staticfiles", "admin")
)


@dataclass(frozen=True)
class Suite:
    """`paths` hold the tests, below the source distribution; `roots` go on the import path.
    `generated` are apps whose migrations are made before, because the suite has none; `templates`
    is a folder of them that belongs to no app; `timed` are tests that fail on a busy machine,
    without a tenant too: they are not run."""

    name: str
    distribution: str
    apps: tuple[str, ...]
    paths: tuple[str, ...]
    roots: tuple[str, ...] = (".",)
    user_apps: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    templates: str = ""
    timed: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """What its distribution was unpacked into; known in the children."""
        return Path(os.environ["COMPAT_SOURCES"]) / self.name

    @property
    def installed(self) -> list[str]:
        return [*_DJANGO, *self.apps]

    def django_settings(self) -> dict[str, Any]:
        """The settings of the app's own test project, without its databases."""
        return {
            "ROOT_URLCONF": None,
            "SECRET_KEY": "compat",
            "USE_TZ": True,
            "TIME_ZONE": "UTC",
            "STATIC_URL": "/static/",
            "SITE_ID": 1,
            # Passwords are made by the hundred: not what is tried here.
            "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
            "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
            "MIDDLEWARE": [
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
            ],
            "TEMPLATES": [
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "DIRS": [str(self.source / self.templates)] if self.templates else [],
                    "APP_DIRS": True,
                    "OPTIONS": {"context_processors": _CONTEXT},
                }
            ],
            "MIGRATION_MODULES": {label: f"compat_{label}" for label in self.generated},
            **self.settings,
        }


_GUARDIAN_INDEXES = "guardian/testapp/tests/test_indexes.py"

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "reversion",
            "django-reversion",
            apps=("reversion", "test_app"),
            roots=(".", "tests"),
            paths=("tests/test_app/tests",),
            settings={"ROOT_URLCONF": "test_project.urls", "DEBUG": True},
        ),
        Suite(
            "treebeard",
            "django-treebeard",
            apps=("treebeard", "tests"),
            # Not the benchmarks, and not the old names of what is tested already.
            paths=("tests/test_treebeard.py", "tests/test_ltree_utils.py"),
            extensions=("ltree",),
            timed=("tests/test_ltree_utils.py::TestGenerateLabel::test_large_string",),
            settings={
                "ROOT_URLCONF": "tests.urls",
                "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            },
        ),
        Suite(
            "guardian",
            "django-guardian",
            apps=("django.contrib.sites", "guardian", "guardian.testapp"),
            paths=("guardian/testapp/tests",),
            templates="guardian/testapp/tests/templates",
            timed=(
                f"{_GUARDIAN_INDEXES}::IndexVsNoIndexPerformanceTestCase",
                f"{_GUARDIAN_INDEXES}::GuardianShortcutsPerformanceTestCase"
                "::test_get_objects_for_user_speed_comparison",
            ),
            user_apps=("django.contrib.admin", "guardian", "guardian.testapp"),
            settings={
                "AUTH_USER_MODEL": "testapp.CustomUser",
                "AUTHENTICATION_BACKENDS": (
                    "django.contrib.auth.backends.ModelBackend",
                    "guardian.backends.ObjectPermissionBackend",
                ),
                "GUARDIAN_MONKEY_PATCH_USER": False,
                "ROOT_URLCONF": "guardian.testapp.tests.urls",
                "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            },
        ),
        Suite(
            "simple_history",
            "django-simple-history",
            apps=(
                "simple_history.tests",
                "simple_history.tests.custom_user",
                "simple_history.tests.external",
                "simple_history.registry_tests.migration_test_app",
                "simple_history",
            ),
            paths=("simple_history/tests/tests", "simple_history/registry_tests/tests.py"),
            user_apps=("simple_history.tests.custom_user",),
            generated=("tests", "custom_user", "external"),
            settings={
                "AUTH_USER_MODEL": "custom_user.CustomUser",
                "ROOT_URLCONF": "simple_history.tests.urls",
                "USE_TZ": False,
                "STORAGES": {
                    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
                    "staticfiles": {
                        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
                    },
                },
            },
        ),
    )
}
