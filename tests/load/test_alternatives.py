"""What the bench installs to compare the product with."""

import json
from pathlib import Path

import pytest

from load.alternatives import installation

FASTIFY = Path(installation.__file__).parent / "fastify_pg"


def test_without_node_the_alternative_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(installation.AlternativeMissingError, match="no node on the PATH"):
        installation.fastify_pg()


def test_the_lock_file_pins_every_package_by_hash_and_names_no_registry() -> None:
    packages = json.loads((FASTIFY / "package-lock.json").read_text())["packages"]
    wanted = json.loads((FASTIFY / "package.json").read_text())["dependencies"]

    own = packages.pop("")
    assert own["dependencies"] == wanted
    assert packages
    assert all(each["integrity"].startswith("sha512-") and "resolved" not in each for each in packages.values())
