"""What code that is traced sees: a span for the time of a block, or nothing where no span is recorded."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

Attributes: TypeAlias = Mapping[str, str | int]


class Span(Protocol):
    """A span that has begun."""

    # What the next service has to be sent, so that its spans belong to this one.
    headers: Mapping[str, str]

    def fail(self, code: str) -> None:
        """Mark the span as failed, with a code and not a message, which may have personal data in it."""


class Spans(Protocol):
    """Makes the spans of a process.

    A span is the child of the request `child_of` if that has a context, else the root of a trace. It is linked to those
    of the requests `links` that are sampled. An error that leaves the block marks the span as failed.
    """

    def of_flush(self, name: str, attributes: Attributes, links: Iterable[str]) -> AbstractContextManager[Span]:
        """Begin a span of work that many requests share."""

    def of_request(
        self, name: str, attributes: Attributes, child_of: str, links: Iterable[str] = ()
    ) -> AbstractContextManager[Span]:
        """Begin a span of the work of one request, or of it and of others that joined it."""

    def of_query(self, name: str, attributes: Attributes) -> AbstractContextManager[object]:
        """Begin a span of a use of the database: a child of the span or of the request in whose block or task it is."""


class _NoSpan:
    headers: Mapping[str, str] = {}

    def fail(self, code: str) -> None:
        pass


class NoSpans:
    """Traces nothing."""

    _nothing: AbstractContextManager[Span] = nullcontext(_NoSpan())

    def of_flush(self, name: str, attributes: Attributes, links: Iterable[str]) -> AbstractContextManager[Span]:
        """Return what does nothing; the same for `of_request`."""
        del name, attributes, links
        return self._nothing

    def of_request(
        self, name: str, attributes: Attributes, child_of: str, links: Iterable[str] = ()
    ) -> AbstractContextManager[Span]:
        """See above."""
        del name, attributes, child_of, links
        return self._nothing

    def of_query(self, name: str, attributes: Attributes) -> AbstractContextManager[object]:
        """See above."""
        del name, attributes
        return self._nothing
