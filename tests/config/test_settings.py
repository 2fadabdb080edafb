import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from config import env


def test_settings_can_be_imported_without_a_fleet(tmp_path: Path) -> None:
    code = (
        "from config import settings\n"
        "assert settings.MERIDIAN_DEPLOYMENT is None\n"
        "assert len(settings.SECRET_KEY) >= 50\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=env.ROOT,
        env={"MERIDIAN_DIR": str(tmp_path), "PYTHONPATH": f"{env.ROOT}:{env.ROOT / 'platform'}"},
        check=True,
    )


@pytest.mark.parametrize("region", ["", "eu-west"])
def test_only_a_regions_processes_load_what_its_pages_need(tmp_path: Path, region: str) -> None:
    code = (
        f"import django, sys\ndjango.setup()\nassert ('ninja' in sys.modules) is {bool(region)}\n"
    )
    variables = {"MERIDIAN_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    path = f"{env.ROOT}:{env.ROOT / 'platform'}"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=env.ROOT,
        env={**variables, "PYTHONPATH": path, "MERIDIAN_REGION": region},
        check=True,
    )


def test_the_secret_key_is_derived_and_not_the_master_key() -> None:
    secrets = settings.MERIDIAN_DEPLOYMENT.secrets
    assert secrets.derive("django").hex() == settings.SECRET_KEY
    assert secrets.master_key not in settings.SECRET_KEY


def test_tasks_are_json_and_stay_in_their_region() -> None:
    app = importlib.import_module("config.celery").app
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_default_queue in settings.MERIDIAN_DEPLOYMENT.regions
    assert app.conf.task_acks_late


def test_a_task_is_not_delivered_twice_while_it_may_still_run() -> None:
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    assert options["visibility_timeout"] > settings.CELERY_TASK_TIME_LIMIT


def test_cookies_name_no_domain_so_they_stay_on_their_host() -> None:
    assert settings.SESSION_COOKIE_DOMAIN is None
    assert settings.CSRF_COOKIE_DOMAIN is None
    assert settings.SESSION_COOKIE_HTTPONLY


@pytest.mark.parametrize("urlconf", ["ROOT_URLCONF", "MERIDIAN_TENANT_URLCONF"])
def test_every_urlconf_can_be_loaded(urlconf: str) -> None:
    module = importlib.import_module(getattr(settings, urlconf))
    assert module.urlpatterns
    assert callable(module.handler500)
