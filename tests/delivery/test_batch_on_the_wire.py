"""What leaves for the private service is what the contract has, and what the client meant."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contract.auth_events.columns import AuthEventColumns
from contract.delivery import Batch
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.delivery.batches import AcceptedBatch, encode_batch
from tests.auth_events.payloads import DEVICE_TYPES, event
from tests.delivery.bodies import ARRAY, LINES
from tests.delivery.reading import read_many

NOW = datetime.now(UTC)
_MORE = st.fixed_dictionaries(
    {},
    optional={
        "eventId": st.text("abc", min_size=1, max_size=3),
        "occurredAt": st.integers(0, 10_000).map(lambda seconds: (NOW - timedelta(seconds=seconds)).isoformat()),
        "x": st.none(),
    },
)
_ITEMS = st.builds(
    lambda user, kind, more: event(user, kind, **more),
    st.text("ab ", max_size=3),
    st.sampled_from([*DEVICE_TYPES, "Windows"]),
    _MORE,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_ITEMS, max_size=8), st.sampled_from([ARRAY, LINES]), st.sampled_from([None, "k"]))
def test_every_batch_is_the_contracts(items: list[dict[str, Any]], content_type: str, key: str | None) -> None:
    texts = [json.dumps(item).encode() for item in items]
    body = b"[%b]" % b",".join(texts) if content_type == ARRAY else b"\n".join(texts)
    accepted = read_many(body, content_type, key)
    assert isinstance(accepted, AcceptedBatch)
    batch = Batch[AuthEventColumns].model_validate_json(encode_batch(AUTH_EVENTS, accepted), strict=True)
    assert (batch.batch_id, batch.project_id, batch.received_at) == (accepted.batch_id, 1, accepted.received_at)
    assert (batch.key.key if batch.key else None) == key
    rejected = {each.index for each in batch.rejected}
    assert rejected == {
        index for index, item in enumerate(items) if not item["userKey"].strip() or item["deviceType"] == "Windows"
    }
    for position, index in enumerate(batch.indexes()):
        item = items[index]
        assert batch.columns.user_keys[position] == item["userKey"].strip()
        assert batch.columns.device_types[position].value == item["deviceType"]
        assert (batch.keys[position].key if position in batch.keys else None) == item.get("eventId")
        occurred_at = batch.occurred_at.get(position)
        assert (occurred_at.isoformat() if occurred_at else None) == item.get("occurredAt")
