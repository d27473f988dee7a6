"""WSGI middleware for Flask and every other WSGI application."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from device_statistics_track.event import DISCONNECTED_STATUS, EXCEPTION_STATUS
from device_statistics_track.recording import Recorder, Start, new_recorder
from device_statistics_track.routes import wsgi_template

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

Environment = dict[str, Any]

_SCRIPT_NAME = "device_statistics_track.script_name"


class TrackWSGIMiddleware:
    """Reports each request. Bodies pass through unread; without a key everything does.

    Args:
        app: the application, of Flask `app.wsgi_app`.
        api_key: a key with the scope `ingest`; default: the environment's DEVICE_STATISTICS_API_KEY.
        url: the product's address, such as https://statistics.example.com; default: DEVICE_STATISTICS_URL.
        consumer: returns the name of the caller from the WSGI environment, or None. It runs after the response.
        user_agent: whether the header User-Agent is reported.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        *,
        api_key: str | None = None,
        url: str | None = None,
        consumer: Callable[[Environment], str | None] | None = None,
        user_agent: bool = False,
    ) -> None:
        self.app = app
        self._recorder = new_recorder(api_key, url, _template, consumer, _user_agent if user_agent else None)

    def __call__(self, environ: Environment, start_response: "StartResponse") -> Iterable[bytes]:
        """Pass the request on, and record it at its end."""
        if self._recorder is None:
            return self.app(environ, start_response)
        exchange = _Exchange(self._recorder, environ, start_response)
        try:
            result = self.app(environ, exchange.start_response)
        except BaseException:
            exchange.record(EXCEPTION_STATUS)
            raise
        file_wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(file_wrapper, type) and isinstance(result, file_wrapper):
            # The server recognises its own class and lets the kernel send the file, so nothing may be put around it.
            exchange.record(exchange.status)
            return result
        return _SizedBody(exchange, result) if hasattr(result, "__len__") else _Body(exchange, result)


class _Exchange:
    """One request and its response, which is recorded once."""

    def __init__(self, recorder: Recorder[Environment], environ: Environment, start_response: "StartResponse") -> None:
        self._recorder = recorder
        self._environ = environ
        self._start_response = start_response
        self._start = Start()
        self._method: str = environ.get("REQUEST_METHOD", "")
        self._url_path: str | None = None
        self._recorded = False
        self.status = EXCEPTION_STATUS
        # The application changes SCRIPT_NAME in place where it mounts another one.
        environ[_SCRIPT_NAME] = environ.get("SCRIPT_NAME", "")

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        error: tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None = None,
        /,
    ) -> Callable[[bytes], object]:
        if status[:3].isdecimal():
            self.status = int(status[:3])
        self._url_path = self._recorder.template(self._environ)
        return self._start_response(status, headers) if error is None else self._start_response(status, headers, error)

    def record(self, status: int) -> None:
        if not self._recorded:
            self._recorded = True
            self._recorder.record(self._environ, self._url_path, self._method, status, self._start)

    def record_close(self) -> None:
        # A server that closes a body before its end has lost the client. It may skip the body of HEAD.
        self.record(self.status if self._method == "HEAD" else DISCONNECTED_STATUS)


class _Body:
    """The application's body, unchanged; its end is the end of the response."""

    def __init__(self, exchange: _Exchange, result: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._result = result
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._iterator is None:
                self._iterator = iter(self._result)
            return next(self._iterator)
        except StopIteration:
            self._exchange.record(self._exchange.status)
            raise
        except BaseException:
            self._exchange.record(EXCEPTION_STATUS)
            raise

    def close(self) -> None:
        """Close the application's body, as the server must."""
        self._exchange.record_close()
        close = getattr(self._result, "close", None)
        if close is not None:
            close()


class _SizedBody(_Body):
    """A body with a length: servers derive Content-Length from a length of 1."""

    def __len__(self) -> int:
        return len(self._result)  # type: ignore[arg-type]  # made for results that have a length


def _template(environ: Environment) -> str | None:
    return wsgi_template(environ, environ.get(_SCRIPT_NAME, ""))


def _user_agent(environ: Environment) -> str | None:
    value: str | None = environ.get("HTTP_USER_AGENT")
    return value
