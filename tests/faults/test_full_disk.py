"""The database's disk is full: nothing that was acknowledged is lost, and with room again everything works."""

import os
from pathlib import Path

import pytest

from tests.faults.event_kinds import kind_named
from tests.faults.full_disk import CANNOT_MOUNT, prove_in_namespace


@pytest.mark.parametrize(
    ("who", "fault", "kind"),
    [  # the soak runs every one
        ("as root", "full disk, and no room for the log", "auth_events"),
        ("as an ordinary user", "full disk", "parcels"),
    ],
)
def test_every_promise_holds_through_a_full_disk(who: str, fault: str, kind: str, seed: int, tmp_path: Path) -> None:
    if who == "as root" and os.geteuid() != 0:
        pytest.skip("not root")
    status, said = prove_in_namespace(who, tmp_path, seed, kind_named(kind), [fault])
    print(said)
    if status == CANNOT_MOUNT:
        pytest.skip(f"this system refuses the mount: {said.strip()}")
    assert status == 0, said
