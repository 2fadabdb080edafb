from pathlib import Path

from config import env


def test_an_explicit_folder_wins(tmp_path: Path) -> None:
    (tmp_path / ".meridian").write_text("/elsewhere\n")
    found = env.read({"MERIDIAN_DIR": "/explicit"}, root=tmp_path)
    assert found.deployment_path == Path("/explicit/deployment.json")


def test_the_running_fleet_is_found_without_variables(tmp_path: Path) -> None:
    (tmp_path / ".meridian").write_text("/state/of/the/fleet\n")
    assert env.read({}, root=tmp_path).state_dir == Path("/state/of/the/fleet")


def test_without_a_running_fleet_the_default_folder_is_used(tmp_path: Path) -> None:
    assert env.read({}, root=tmp_path).state_dir == tmp_path / ".fleet"


def test_an_empty_pointer_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / ".meridian").write_text("\n")
    assert env.read({}, root=tmp_path).state_dir == tmp_path / ".fleet"


def test_a_command_started_by_hand_belongs_to_no_region(tmp_path: Path) -> None:
    assert env.read({"MERIDIAN_REGION": ""}, root=tmp_path).region is None
    assert env.read({"MERIDIAN_REGION": "eu-west"}, root=tmp_path).region == "eu-west"


def test_debugging_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert not env.read({}, root=tmp_path).debug
    assert not env.read({"MERIDIAN_DEBUG": "0"}, root=tmp_path).debug
    assert env.read({"MERIDIAN_DEBUG": "true"}, root=tmp_path).debug


def test_a_password_for_etcd_is_not_shown(tmp_path: Path) -> None:
    found = env.read({"MERIDIAN_ETCD_PASSWORD": "correct horse"}, root=tmp_path)
    assert found.etcd_password == "correct horse"
    assert "horse" not in repr(found)


def test_only_env_and_the_agent_which_has_no_django_read_the_environment() -> None:
    readers = {
        module.relative_to(env.ROOT).as_posix()
        for package in ("platform", "tenants", "regions")
        for module in (env.ROOT / package).rglob("*.py")
        if "os.environ" in module.read_text() or "getenv" in module.read_text()
    }
    assert readers == {"platform/config/env.py", "regions/failover/__main__.py"}
