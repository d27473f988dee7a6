"""The stack of docker-compose.yml under a project name of its own, driven by `docker compose` as an operator would."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.database import base_environment
from local.ports import free_port
from local.services import ROOT

PROJECT = "device-statistics-test"
DATABASE = "device_statistics"
APIS = ("statistics-api", "device-registration-api")
IMAGES = tuple(f"{PROJECT}-{name}" for name in (*APIS, "load"))
BASE_IMAGE = "python:3.11-slim-bookworm"
COMMAND_SECONDS_MAX = 600.0
POLL_SECONDS = 0.2


class CommandFailed(Exception):
    """A docker command ended with another status than 0; the message holds what it printed."""


def docker(
    *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run one docker command in the repository's root. Raises CommandFailed, unless told not to check."""
    settings = {name: value for name, value in os.environ.items() if name.startswith(("DOCKER_", "BUILDKIT_", "XDG_"))}
    finished = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env=base_environment() | settings | dict(env or {}),
        input=b"" if stdin is None else stdin,
        capture_output=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    if check and finished.returncode != 0:
        said = (finished.stdout + finished.stderr).decode(errors="replace")
        raise CommandFailed(f"docker {' '.join(arguments)}: status {finished.returncode}\n{said[-4000:]}")
    return finished


@dataclass(frozen=True)
class Stack:
    """One running project. Its settings are .env.example's, but for the two ports on this machine."""

    port: int
    load_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def load_url(self) -> str:
        return f"http://127.0.0.1:{self.load_port}"

    def compose(self, *arguments: str, stdin: bytes | None = None, **settings: str) -> bytes:
        """`docker compose`; settings win over .env.example. Returns what it prints on stdout."""
        return self.try_compose(*arguments, stdin=stdin, check=True, **settings).stdout

    def try_compose(
        self, *arguments: str, stdin: bytes | None = None, check: bool = False, **settings: str
    ) -> subprocess.CompletedProcess[bytes]:
        """The same, whatever its exit status."""
        ports = {"STATISTICS_PORT": str(self.port), "LOAD_PORT": str(self.load_port)}
        project = ("compose", "--project-name", PROJECT, "--env-file", ".env.example")
        return docker(*project, *arguments, env=ports | settings, stdin=stdin, check=check)

    def up(self, *arguments: str) -> None:
        """Start what does not run, and wait until it is healthy."""
        self.compose("up", "--detach", "--wait", *arguments)

    def remove(self) -> None:
        """Containers, networks and the database's volume."""
        self.compose("--profile", "load", "down", "--volumes", "--remove-orphans", "--timeout", "5")

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        container = self.compose("ps", "--all", "--quiet", service).decode().strip()
        inspected: dict[str, Any] = json.loads(docker("inspect", container).stdout)[0]
        return inspected

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-color", service).decode(errors="replace")

    def sql(self, statement: str, database: str = DATABASE) -> list[list[str]]:
        """The rows of a query by the database's administrator, in the database's own container."""
        psql = ("psql", "--username=postgres", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1")
        printed = self.compose("exec", "-T", "postgres", *psql, f"--dbname={database}", "--command", statement)
        return [line.split("|") for line in printed.decode().splitlines()]

    def command(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What an operator's command prints in the private service's container. Raises CommandFailed."""
        service = "device-registration-api"
        return self.compose("exec", "-T", service, service, *arguments, stdin=stdin).decode()

    def verify_counts(self) -> str:
        """The operator's own check. Raises CommandFailed when a count has drifted."""
        return self.command("verify-counts")

    def new_key(self, project_key: str = "default") -> str:
        """An API key for everything, as docs/compose.md makes it."""
        printed = self.command("create-key", project_key, "load", "--scopes", "ingest,read,manage")
        [key] = [word for word in printed.split() if word.startswith("ds_live_")]
        return key

    def kill(self, service: str) -> None:
        """SIGKILL a container's first process from outside, as the kernel does when memory runs out.

        Not `docker kill`: that counts as the operator's wish, and the restart policy would respect it.
        """
        process = self.inspect(service)["State"]["Pid"]
        kill = f"import os; os.kill({process}, 9)"
        privileges = ("--pid=host", "--user=0", "--cap-drop=ALL", "--cap-add=KILL", "--network=none")
        docker("run", "--rm", *privileges, BASE_IMAGE, "python", "-c", kill)

    def wait_restarted(self, service: str, before: dict[str, Any], seconds_max: float) -> None:
        """Return when the container runs again after `before` was inspected. Raises TimeoutError."""
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            state = self.inspect(service)["State"]
            if state["Running"] and state["StartedAt"] != before["State"]["StartedAt"]:
                return
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"{service} was not restarted within {seconds_max:.0f} seconds")


def new_stack() -> Stack:
    """Ports are free ones: a stack of the user's may be running on 8000."""
    return Stack(free_port(), free_port())
