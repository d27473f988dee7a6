"""Folders and secrets that only their owner may read."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def private_folder(path: Path) -> None:
    """Make `path` with mode 0700. The mode of an existing folder is changed only if it is empty, because it may be the
    user's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not any(path.iterdir()):
            path.chmod(0o700)


def secret(path: Path, make: Callable[[], str]) -> str:
    """The secret kept in `path`, made by `make` the first time.

    Written whole or not at all, with mode 0600 from the first byte; of two who make it at once one wins and
    both get the same.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces what another has made meanwhile.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()
    return path.read_text().strip()
