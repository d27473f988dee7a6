"""Installs what the alternatives need below build/, away from the project's own environment."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_BUILD = _ROOT / "build" / "alternatives"


class AlternativeMissingError(Exception):
    """An alternative cannot be installed here; the message says why."""


def fastapi_asyncpg() -> list[str]:
    """The command that serves on the port that is added to it.

    Raises:
        AlternativeMissingError: its packages cannot be installed.
    """
    folder, lock = _BUILD / "fastapi_asyncpg", _ROOT / "requirements" / "alternatives.txt"
    python = folder / "bin" / "python"

    def install() -> None:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(lock)])

    _once(folder, lock, install)
    return [str(python), str(_HERE / "fastapi_asyncpg.py")]


def fastify_pg() -> list[str]:
    """The command that serves on the port that is added to it.

    Raises:
        AlternativeMissingError: there is no Node here, or its packages cannot be installed.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            message = f"there is no {program} on the PATH"
            raise AlternativeMissingError(message)
    source, folder = _HERE / "fastify_pg", _BUILD / "fastify_pg"

    def install() -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        # Nothing that a package brings runs at its installation.
        _run(["npm", "ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"])

    _once(folder, source / "package-lock.json", install)
    # Node looks for packages beside the file that imports them.
    shutil.copy(source / "server.mjs", folder)
    return ["node", str(folder / "server.mjs")]


# The name in the report, and what installs it.
ALTERNATIVES: Mapping[str, Callable[[], list[str]]] = MappingProxyType(
    {"FastAPI, asyncpg, pool of 20": fastapi_asyncpg, "Fastify, pg, pool of 20, prepared": fastify_pg}
)


def _once(folder: Path, lock: Path, install: Callable[[], None]) -> None:
    """Install, unless it was done for this very lock file."""
    stamp, digest = folder / "installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    folder.mkdir(parents=True, exist_ok=True)
    install()
    stamp.write_text(digest)


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - a list of our own
    if finished.returncode != 0:
        message = f"`{command[0]}` ended with status {finished.returncode}: {finished.stderr.strip()[-500:]}"
        raise AlternativeMissingError(message)
