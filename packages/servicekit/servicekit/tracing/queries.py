"""Whether uses of the database are traced in this process, and under which names."""

from functools import partial

from servicekit.tracing.spans import Spans

_REPEATED = "attempt"


class QueryTracing:
    """Without tracing, `spans` is None, and a use of the database pays one look at it."""

    spans: Spans | None = None


# State of the process, as the contexts of its requests are: each pool of connections would have to be given it.
query_tracing = QueryTracing()


def summary_of(work: object) -> str:
    """Return the name of the function that has the statements, as `auth_events.queries.count`.

    It is one of a bounded number and has no value in it. Of a function within a function, it is the outer one's name.
    """
    while isinstance(work, partial):
        # What is repeated until its outcome is known says more than the repetition.
        work = work.keywords.get(_REPEATED, work.func)
    name = getattr(work, "__qualname__", type(work).__qualname__)
    module = getattr(work, "__module__", type(work).__module__)
    return f"{module.partition('.')[2]}.{name.partition('.<locals>')[0]}"
