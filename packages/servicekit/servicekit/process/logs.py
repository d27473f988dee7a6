"""Configures every log line that is not a request line: start, stop, warnings, errors with their traces."""

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["json", "text"]


def chosen_format(setting: LogFormat | None) -> LogFormat:
    """The operator's choice; without one, text on a terminal and JSON elsewhere."""
    return setting or ("text" if sys.stdout.isatty() else "json")


def configure_logs(service: str, log_format: LogFormat) -> None:
    """Route the standard library's logging, uvicorn's included, to one line an event on stdout."""
    if log_format == "json":
        rendering: list[structlog.types.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        rendering = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stdout.isatty(),
                pad_event_to=0,
                # Where `rich` is installed, the default prints local variables: headers, tokens, addresses.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            lambda _logger, _method, event: {"service": service, **event},
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every forward says nothing new
    logging.getLogger("httpcore2").setLevel(logging.WARNING)
