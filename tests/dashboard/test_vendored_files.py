"""Files of other projects are theirs, unchanged, with their licence."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from statistics_api.dashboard.assets import FOLDER

FOLDERS = {"uplot": FOLDER / "vendor", "axe-core": Path(__file__).with_name("vendor")}
NPM_SECONDS_MAX = 60


def manifest(name: str) -> Mapping[str, Any]:
    described: Mapping[str, Any] = json.loads((FOLDERS[name] / "manifest.json").read_text())[name]
    return described


@pytest.mark.parametrize("name", FOLDERS)
def test_a_vendored_file_is_what_the_manifest_says(name: str) -> None:
    folder = FOLDERS[name] / name
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == manifest(name)["sha256"]
    assert "LICENSE" in found


@pytest.mark.parametrize("name", FOLDERS)
def test_it_is_the_published_one(name: str, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("NOT CHECKED: VENDORED FILES AGAINST THE PUBLISHED ONES, because npm is not here")
    wanted = manifest(name)
    packed = subprocess.run(
        ["npm", "pack", f"{name}@{wanted['version']}", "--silent"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=NPM_SECONDS_MAX,
        check=False,
    )
    if packed.returncode:
        pytest.skip(f"NOT CHECKED: {name} AGAINST THE PUBLISHED ONE, because npm cannot get it: {packed.stderr[-200:]}")
    with tarfile.open(tmp_path / packed.stdout.split()[-1]) as archive:
        published = {
            Path(member.name).name: sha256(file.read()).hexdigest()
            for member in archive.getmembers()
            if Path(member.name).name in wanted["sha256"] and (file := archive.extractfile(member)) is not None
        }
    assert published == wanted["sha256"]
