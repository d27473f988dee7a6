"""The ids of imported rows are those of RFC 9562, and the same at each run."""

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from device_registration_api.imports.identities import Identities


@given(st.text(max_size=20), st.text(max_size=20), st.lists(st.integers() | st.text(max_size=20), max_size=5))
def test_many_ids_are_each_a_uuid_of_version_5(source: str, table: str, row_ids: list[int | str]) -> None:
    identities = Identities(source)
    texts = identities.texts(table, row_ids)
    assert texts == [str(identities.of(table, each)) for each in row_ids] == Identities(source).texts(table, row_ids)
    assert all(UUID(each).version == 5 for each in texts)


def test_an_id_is_that_of_the_library() -> None:
    source = uuid5(UUID("7c0b4a52-5f9e-4d0e-9a3b-1d2f6f6f0b52"), "here")
    assert Identities("here").of("events", 7) == uuid5(source, "events/7")


def test_other_sources_tables_and_rows_have_other_ids() -> None:
    assert len({Identities(source).of(table, row) for source in "ab" for table in "cd" for row in "ef"}) == 8
