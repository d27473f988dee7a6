"""A newcomer starts the stack and types the document's lines; a stranger finds nothing but port 8000."""

import json
import shutil
import subprocess

import httpx2
import pytest

from tests.compose.stack import APIS, BASE_IMAGE, PROJECT, Stack, docker
from tests.journeys.documents_curl import LINES

SCAN = """
import socket, sys
for address in sys.argv[1:]:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print(address, "open")
    except OSError:
        print(address, "closed")
"""


def addresses(stack: Stack, service: str) -> dict[str, str]:
    """The container's address in each of the stack's networks."""
    networks = stack.inspect(service)["NetworkSettings"]["Networks"]
    return {name.removeprefix(f"{PROJECT}_"): each["IPAddress"] for name, each in networks.items()}


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="NOT CHECKED: THE DOCUMENT'S CURL LINES, because curl is not here"
)
def test_every_curl_line_gives_the_documents_answer(empty_stack: Stack) -> None:
    for line, expected in LINES:
        typed = line.strip().replace("curl ", "curl --silent --show-error --noproxy '*' ", 1)
        finished = subprocess.run(  # noqa: S602 - the document's own lines, typed into a shell on purpose
            typed.replace("{base}", empty_stack.url), shell=True, capture_output=True, text=True, check=True
        )
        assert json.loads(finished.stdout) == json.loads(expected), line


def test_the_documentation_is_there(stack: Stack) -> None:
    assert httpx2.get(f"{stack.url}/docs", trust_env=False).status_code == 200


def test_the_logs_are_readable_and_say_when_both_services_are_up(stack: Stack) -> None:
    for service in APIS:
        assert "Application startup complete." in stack.logs(service)
    assert "is at revision" in stack.logs("migrate")
    assert "change-me" not in stack.compose("logs", "--no-color").decode()


def test_only_the_public_port_is_published_and_on_this_machine_alone(stack: Stack) -> None:
    published = {
        service: {port: bound for port, bound in stack.inspect(service)["NetworkSettings"]["Ports"].items() if bound}
        for service in (*APIS, "maintain", "postgres")
    }
    assert published == {
        "statistics-api": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]},
        "device-registration-api": {},
        "maintain": {},
        "postgres": {},
    }


def test_a_stranger_beside_the_public_service_reaches_it_and_nothing_behind_it(stack: Stack) -> None:
    public = addresses(stack, "statistics-api")
    private = addresses(stack, "device-registration-api")
    database = addresses(stack, "postgres")
    assert private.keys() == database.keys() == {"backend"}
    network = json.loads(docker("network", "inspect", f"{PROJECT}_backend").stdout)[0]
    assert network["Internal"] is True

    targets = [f"{public['edge']}:8000", f"{private['backend']}:8001", f"{database['backend']}:5432"]
    stranger = ("run", "--rm", f"--network={PROJECT}_edge", BASE_IMAGE, "python", "-c", SCAN, *targets)
    assert docker(*stranger).stdout.decode().splitlines() == [
        f"{targets[0]} open",
        f"{targets[1]} closed",
        f"{targets[2]} closed",
    ]


def test_without_the_token_the_private_service_refuses_even_its_neighbours(stack: Stack) -> None:
    ask = (
        "import http.client as h; c = h.HTTPConnection('device-registration-api', 8001); "
        "c.request('POST', '/Device/register', '{}'); print(c.getresponse().status)"
    )
    assert stack.compose("exec", "-T", "statistics-api", "python", "-c", ask).strip() == b"401"


@pytest.mark.parametrize("service", [*APIS, "migrate"])
def test_the_example_secrets_are_refused_in_production(stack: Stack, service: str) -> None:
    attempt = stack.try_compose("run", "--rm", "--no-deps", service, ENVIRONMENT="production")
    assert attempt.returncode != 0
    assert b"still has its example value" in attempt.stdout + attempt.stderr


def test_without_settings_compose_says_what_to_do() -> None:
    started = docker("compose", "--project-name", PROJECT, "--env-file", "/dev/null", "config", "--quiet", check=False)
    assert started.returncode != 0
    assert b"cp .env.example .env" in started.stderr


def test_a_line_in_the_environment_moves_the_port(stack: Stack) -> None:
    configuration = json.loads(docker("compose", "--env-file", ".env.example", "config", "--format=json").stdout)
    (port,) = configuration["services"]["statistics-api"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8000", 8000)
    moved = json.loads(stack.compose("config", "--format=json", STATISTICS_PORT="9000"))
    assert moved["services"]["statistics-api"]["ports"][0]["published"] == "9000"
