"""Where PostgreSQL's socket lies: beside its data, or in a temporary folder when that path is too long."""

import os
import shutil
import tempfile
from pathlib import Path

from local.files import private_folder

SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un of Linux, without the closing NUL
PREFIX = "device-statistics-"


def make_socket_folder(beside: Path, port: int) -> Path:
    """A folder (0700) for the socket of a server whose files are in `beside`.

    Raises OSError when no temporary folder has a path short enough either.
    """
    if _usable(beside / "socket", port):
        private_folder(beside / "socket")
        return beside / "socket"
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp's folder is private
        if _usable(parent / f"{PREFIX}xxxxxxxx", port):
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    raise OSError("no folder has a path short enough for PostgreSQL's socket: set TMPDIR to a short one")


def remove_socket_folder(folder: Path) -> None:
    """Remove a folder that `make_socket_folder` made among the temporary ones; any other is kept."""
    if folder.name.startswith(PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _usable(folder: Path, port: int) -> bool:
    path = os.fsencode(folder / f".s.PGSQL.{port}")
    # Clients read a comma in a host as the beginning of another host.
    return len(path) <= SOCKET_PATH_BYTES_MAX and b"," not in path
