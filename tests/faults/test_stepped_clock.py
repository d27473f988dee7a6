"""The clock that the rig steps is the one that the services read, in all that they read it for."""

import json
import os
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from servicekit.process import clock

SABOTAGE = Path(__file__).parent / "sabotage"
SAY = """
import json, time
from servicekit.http import deadline
from servicekit.process.clock import now  # by name: a patch of the module's attribute would miss it
said = {"now": now().timestamp(), "zone": str(now().tzinfo), "header": deadline.to_header(time.monotonic() + 10)}
said["left"] = deadline.from_header(str(time.time() + 5), seconds_max=1e9) - time.monotonic()
print(json.dumps(said))
"""


def said(folder: Path, error_seconds: float) -> dict[str, object]:
    file = folder / "clock"
    file.write_bytes(struct.pack("d", error_seconds))
    environment = os.environ | {
        "CLOCK_FILE": str(file),
        "SABOTAGE_MODULES": "stepped_clock",
        "PYTHONPATH": os.pathsep.join([str(SABOTAGE), *sys.path]),
    }
    run = subprocess.run([sys.executable, "-c", SAY], env=environment, check=True, capture_output=True, text=True)
    answer: dict[str, object] = json.loads(run.stdout)
    return answer


def test_a_step_moves_the_time_of_events_and_of_deadlines(tmp_path: Path) -> None:
    for error in (0.0, 3_600.0, -86_400.0):
        before = time.time()
        told = said(tmp_path, error)
        took = time.time() - before

        assert told["zone"] == "UTC"
        assert 0 <= float(str(told["now"])) - error - before <= took
        assert 0 <= float(str(told["header"])) - 10 - error - before <= took + 0.01
        assert -0.01 <= 5 - error - float(str(told["left"])) <= took + 0.01


def test_the_time_is_the_systems_with_its_zone() -> None:
    before, told, after = datetime.now(UTC), clock.now(), datetime.now(UTC)

    assert before <= told <= after
    assert told.tzinfo is UTC
