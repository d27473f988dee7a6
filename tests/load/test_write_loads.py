"""Every kind that the bench writes: what the baselines store, and what a client sends, are rows of that kind."""

import io
import json
import re

import pytest

from load.write_loads import WRITE_LOADS, WriteLoad
from servicekit.database import Connection
from tests.kinds.served_kinds import KINDS, PARCELS


@pytest.mark.parametrize("load", WRITE_LOADS, ids=lambda load: load.path)
def test_pgbench_and_copy_store_rows_of_the_kind(conn: Connection, load: WriteLoad) -> None:
    with conn.cursor() as cur:
        cur.execute(f"SELECT count(*) FROM {load.fact}")  # noqa: S608 - a constant of the bench
        ((before,),) = cur.fetchall()
        cur.execute(load.insert)
        cur.copy_expert(f"COPY {load.fact} ({load.columns}) FROM STDIN", io.StringIO(load.copy_rows(3)))
        cur.execute(f"SELECT count(*) FROM {load.fact}")  # noqa: S608 - a constant of the bench
        ((after,),) = cur.fetchall()

    assert after - before == 4


@pytest.mark.parametrize("load", WRITE_LOADS, ids=lambda load: load.path)
def test_the_event_that_is_sent_is_one_of_the_kind(load: WriteLoad) -> None:
    (kind,) = (each for each in KINDS if each.fact == load.fact)

    event = json.loads(load.event.replace("{number}", "7"))
    assert event.keys() == kind.content_of(kind.body("identity", kind.groups[0])).keys()
    assert load.event.count("{number}") == 1
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", kind.path), load.path)


def test_every_delivered_kind_is_a_load() -> None:
    delivered = {kind.fact for kind in KINDS} - {PARCELS.fact}
    assert {load.fact for load in WRITE_LOADS} == delivered
