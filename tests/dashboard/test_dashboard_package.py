"""The pages are in the package that is installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

from local.services import ROOT
from statistics_api.dashboard.assets import FOLDER


def test_a_wheel_has_every_template_and_file(tmp_path: Path) -> None:
    """The images install the folder itself; others install wheels."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    source = tmp_path / "source"
    # A copy: the build would leave its own folder beside the sources.
    subprocess.run(["cp", "-r", str(ROOT / "statistics-api"), str(source)], check=True)
    subprocess.run([*build, str(source)], check=True)
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    folder = FOLDER.parent
    files = {path for name in ("static", "templates") for path in (folder / name).rglob("*") if path.is_file()}
    assert len(files) > 15
    assert {f"statistics_api/dashboard/{path.relative_to(folder).as_posix()}" for path in files} <= packed
