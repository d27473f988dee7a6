"""What tracing takes of a processor: `python -m load.tracing_overhead`. No part of the bench.

Processor time of one thread, the least of seven rounds, so that other work on the machine hardly counts. Nothing
listens at the address of the collector: sending is another thread's work.
"""

import time
from collections.abc import Callable
from functools import partial

from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.tracing.contexts import RequestContexts, current_request
from servicekit.tracing.queries import summary_of
from servicekit.tracing.recorded import RecordedSpans
from servicekit.tracing.spans import NoSpans, Spans

_ROUNDS, _REPEATS = 7, 3_000
_REQUEST_IDS = [f"request {number}" for number in range(16)]
_SAMPLED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _microseconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_ROUNDS):
        begun = time.thread_time()
        for _ in range(_REPEATS):
            work()
        taken.append((time.thread_time() - begun) / _REPEATS * 1e6)
    return min(taken)


def _request(contexts: RequestContexts, traceparent: bytes | None) -> Callable[[], object]:
    def work() -> None:
        contexts.begin("a request", traceparent, None)
        contexts.end("a request")

    return work


def _flush(spans: Spans) -> Callable[[], object]:
    def work() -> None:
        with spans.of_flush("forward", {"events": len(_REQUEST_IDS)}, iter(_REQUEST_IDS)):
            pass

    return work


def _query(spans: Spans) -> Callable[[], object]:
    work = partial(fetch_all, statement="SELECT 1")

    def use() -> None:
        name = summary_of(work)
        with spans.of_query(name, {"db.system.name": "postgresql", "db.query.summary": name}):
            pass

    return use


def _untraced_query() -> Callable[[], object]:
    # The coroutine is made and not run, so this is more than what tracing takes: a look and a call.
    database = Database("host=127.0.0.1", connections_max=1, wait_seconds_max=1)
    return lambda: database.run(_nothing, 1).close()


def _nothing(_: Lease) -> None:
    pass


def _main() -> None:
    contexts = RequestContexts()
    never, always = (
        RecordedSpans("http://127.0.0.1:9", ratio=ratio, resource={"service.name": "load"}, contexts=contexts)
        for ratio in (0.0, 1.0)
    )
    figures = {
        "a request without a traceparent": _microseconds(_request(contexts, None)),
        "a request with one": _microseconds(_request(contexts, _SAMPLED)),
        "a flush of 16 requests, without tracing": _microseconds(_flush(NoSpans())),
        "the same, not recorded": _microseconds(_flush(never)),
        "the same, recorded": _microseconds(_flush(always)),
    }
    contexts.begin(_REQUEST_IDS[0], _SAMPLED, None)
    figures["the same, recorded, with one link"] = _microseconds(_flush(never))
    figures["making the coroutine of a use of the database, without tracing"] = _microseconds(_untraced_query())
    current_request.set(_REQUEST_IDS[1])
    figures["the span of a use of the database, not recorded"] = _microseconds(_query(never))
    figures["that span, recorded"] = _microseconds(_query(always))
    for name, microseconds in figures.items():
        print(f"{name}: {microseconds:.2f} µs")


if __name__ == "__main__":
    _main()
