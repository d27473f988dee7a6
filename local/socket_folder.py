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
    place = beside / "socket"
    remove_socket_folder(beside)
    if _usable(place, port):
        private_folder(place)
        return place
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp's folder is private
        if _usable(parent / f"{PREFIX}xxxxxxxx", port):
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            place.symlink_to(folder)  # so that the next start finds what a killed one could not remove
            return folder
    raise OSError("no folder has a path short enough for PostgreSQL's socket: set TMPDIR to a short one")


def remove_socket_folder(beside: Path) -> None:
    """Remove the temporary folder, if one was made; a folder beside the data stays."""
    place = beside / "socket"
    if place.is_symlink():
        shutil.rmtree(place.readlink(), ignore_errors=True)
        place.unlink()


def _usable(folder: Path, port: int) -> bool:
    path = os.fsencode(folder / f".s.PGSQL.{port}")
    # Clients read a comma in a host as the beginning of another host.
    return len(path) <= SOCKET_PATH_BYTES_MAX and b"," not in path
