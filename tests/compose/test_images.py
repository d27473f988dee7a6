"""What is in the images, and how they run."""

import json
import tomllib
from typing import Any

import pytest

from local.services import ROOT
from tests.compose.image_sizes import api_image_sizes
from tests.compose.stack import APIS, PROJECT, Stack, docker

ADDED_MEGABYTES_MAX = 90
OTHER = dict(zip(APIS, reversed(APIS), strict=True))
SQL_FILES = {"init.sql", "personal.sql", "keyring.sql", "inbox.sql"}
OPERATORS = ("migrate", "maintain")


def image(name: str) -> dict[str, Any]:
    inspected: dict[str, Any] = json.loads(docker("image", "inspect", f"{PROJECT}-{name}").stdout)[0]
    return inspected


def printed_in(name: str, *command: str) -> str:
    """What a command prints in a new container of an image, hardened as in the stack."""
    hardened = ("--rm", "--read-only", "--cap-drop=ALL", "--network=none")
    return docker("run", *hardened, f"{PROJECT}-{name}", *command).stdout.decode().strip()


@pytest.mark.usefixtures("stack")
def test_each_image_adds_little_to_its_base(report: list[str]) -> None:
    sizes = api_image_sizes()
    report.extend(str(size) for size in sizes)
    for size in sizes:
        assert 0 < size.added_megabytes <= ADDED_MEGABYTES_MAX, size


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("name", APIS)
def test_an_image_says_what_it_is_and_runs_without_a_shell_or_root(name: str) -> None:
    configuration = image(name)["Config"]
    assert configuration["User"] == "10001:10001"
    assert not configuration["Entrypoint"]
    assert configuration["Cmd"] == ["python", "main.py"]
    assert configuration["WorkingDir"] == f"/src/{name}"
    assert configuration["Healthcheck"]["Test"] == ["CMD", "python", "-m", "servicekit.service.probe", "/livez"]
    labels = configuration["Labels"]
    for label in ("title", "description", "licenses", "version", "revision"):
        assert labels[f"org.opencontainers.image.{label}"]
    assert labels["org.opencontainers.image.title"] == name


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("name", APIS)
def test_an_image_holds_its_own_service_and_nothing_else_of_the_repository(name: str) -> None:
    top = {"packages", name} | (SQL_FILES if name == "device-registration-api" else set())
    assert set(printed_in(name, "ls", "-A", "/src").split()) == top
    assert set(printed_in(name, "ls", "-A", "/src/packages").split()) == {"contract", "servicekit"}
    other = OTHER[name]
    found = printed_in(name, "find", "/src", "/usr/local", "-name", f"{other}*", "-o", "-name", other.replace("-", "_"))
    assert found == ""
    left = printed_in(name, "find", "/src", "-name", ".*", "-o", "-name", "*.egg-info", "-o", "-name", "Dockerfile")
    assert left == ""


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("name", APIS)
def test_every_package_in_an_image_knows_its_version(name: str) -> None:
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]
    ask = (
        f"from importlib.metadata import version; print(version({name!r}), version('contract'), version('servicekit'))"
    )
    assert printed_in(name, "python", "-c", ask).split()[0] == project["version"]


@pytest.mark.usefixtures("stack")
def test_the_operators_command_is_on_the_path() -> None:
    assert "verify-counts" in printed_in("device-registration-api", "device-registration-api", "--help")


@pytest.mark.parametrize("service", [*APIS, *OPERATORS, "postgres"])
def test_each_container_runs_hardened(stack: Stack, service: str) -> None:
    container = stack.inspect(service)
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["RestartPolicy"]["Name"] == ("no" if service == "migrate" else "unless-stopped")
    assert container["Config"]["User"] == ("999:999" if service == "postgres" else "10001:10001")


@pytest.mark.parametrize("service", APIS)
def test_nobody_can_write_into_a_running_service(stack: Stack, service: str) -> None:
    for path in ("/x", "/tmp/x", f"/src/{service}/x"):  # noqa: S108 - to be refused
        attempt = stack.try_compose("exec", "-T", service, "python", "-c", f"open({path!r}, 'w')")
        assert b"Read-only file system" in attempt.stderr


def test_the_database_keeps_its_data_in_a_volume_and_its_sockets_in_memory(stack: Stack) -> None:
    container = stack.inspect("postgres")
    mounted = {each["Destination"]: each["Type"] for each in container["Mounts"]}
    assert mounted["/var/lib/postgresql"] == "volume"
    assert set(container["HostConfig"]["Tmpfs"]) == {"/tmp", "/var/run/postgresql"}  # noqa: S108 - as mounted
