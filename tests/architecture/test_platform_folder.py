"""`platform/` is a source folder; as a package it would hide a module of the standard library."""

import platform
import sysconfig
from pathlib import Path

from tests.architecture.repository import ROOT


def test_platform_is_no_package():
    assert (ROOT / "platform").is_dir()
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_import_platform_is_the_standard_library():
    assert platform.__file__ is not None
    standard = Path(sysconfig.get_path("stdlib")).resolve()
    assert standard in Path(platform.__file__).resolve().parents
    assert platform.python_version()


def test_there_is_no_test_package_of_that_name():
    assert not (ROOT / "tests" / "platform").exists()
