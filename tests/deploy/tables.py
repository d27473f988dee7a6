"""Prints who may talk to whom, and who opens how many connections: `python -m tests.deploy.tables`."""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.deploy import connections, network_matrix
from tests.deploy.rendering import copy_with_secrets, render


def main() -> int:
    """Print both tables for each kind of installation."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        print("kubectl IS NOT HERE: NO TABLES", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        manifests = copy_with_secrets(Path(folder))
        for installation in (".", "overlays/rds", "overlays/citus", "overlays/local"):
            documents = render(kubectl, manifests / installation)
            print(f"\nk8s/{installation}: connections to PostgreSQL\n")
            print(connections.table(documents))
            print(f"\nk8s/{installation}: who may talk to whom; everything else is refused\n")
            print(network_matrix.table(documents))
    return 0


if __name__ == "__main__":
    sys.exit(main())
