"""Instructions that one request takes in process, counted by valgrind: a figure that other processes do not affect.

`python -m load.instructions` counts each stage of the way to an answer. The protocol class is fed the bytes of 64
connections by a transport that throws away what is written; there are no sockets. Counts repeat within 1 %.
"""

import asyncio
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from load.figures import Figure
from servicekit.protocol.application import ServedApplication
from servicekit.protocol.strict_http import StrictHttpProtocol
from tests.servicekit.small_service import LIFESPAN_STATE, build

_CONNECTIONS, _WARM_ROUNDS, _ROUNDS = 64, 5, 10
_BODY = b'{"how":"at once"}'
_POST = (
    b"POST /direct HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_BODY), _BODY)
)
# valgrind's own macros, which no Python package has.
_MARKS = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void end(const char *stage) { CALLGRIND_DUMP_STATS_AT(stage); CALLGRIND_STOP_INSTRUMENTATION; }
"""


class ValgrindMissingError(Exception):
    """valgrind, its header or a C compiler is not installed; the message is one sentence for its user."""


class Stage(NamedTuple):
    """One way to an answer, and the most instructions that it may cost; None where it is only compared with.

    The bounds are 15 % above what was counted with Python 3.11.7 as pyenv builds it; a build with LTO needs less.
    """

    name: str
    instructions_max: int | None
    protocol: type[HttpToolsProtocol]
    make_app: Callable[[], ASGIApp]


async def _bare(_: Scope, __: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def _small_service(*, directly: bool) -> ServedApplication:
    return build(directly=directly, log=Path(os.devnull).open("wb"))


STAGES = [
    Stage("uvicorn's protocol, a bare answer", None, HttpToolsProtocol, lambda: _bare),
    Stage("this protocol, a bare answer", None, StrictHttpProtocol, lambda: _bare),
    Stage("a fast-path POST, the long way", 270_000, StrictHttpProtocol, lambda: _small_service(directly=False)),
    Stage("the same POST, the direct lane", 105_000, StrictHttpProtocol, lambda: _small_service(directly=True)),
]


class _Sink(asyncio.Transport):
    """A client that takes everything at once."""

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    @override
    def close(self) -> None:
        pass

    @override
    def is_closing(self) -> bool:
        return False


async def _answer(stage: Stage, begin: Callable[[], None], end: Callable[[], None]) -> None:
    app = stage.make_app()
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off", proxy_headers=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    protocols = [stage.protocol(config, state, dict(LIFESPAN_STATE), _loop=loop) for _ in range(_CONNECTIONS)]
    for protocol in protocols:
        protocol.connection_made(_Sink())
    for number in range(_WARM_ROUNDS + _ROUNDS):
        if number == _WARM_ROUNDS:
            begin()
        for protocol in protocols:
            protocol.data_received(_POST)
        while state.tasks:  # noqa: ASYNC110 - each turn of the loop is what is counted
            await asyncio.sleep(0)
        if isinstance(app, ServedApplication):
            app.log.flush()
    end()
    for protocol in protocols:
        protocol.connection_lost(None)


def _run_stages(marks: Path) -> None:
    library = ctypes.CDLL(str(marks))
    for number, stage in enumerate(STAGES):
        uvloop.run(_answer(stage, library.begin, partial(library.end, b"stage %d" % number)))


def count() -> list[int]:
    """The instructions that a request costs in each stage.

    Raises:
        ValgrindMissingError: it cannot be counted here.
    """
    missing = [program for program in ("valgrind", "cc") if shutil.which(program) is None]
    if missing:
        message = f"{' and '.join(missing)} not installed (Debian: apt-get install valgrind gcc)"
        raise ValgrindMissingError(message)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, library = folder / "marks.c", folder / "marks.so"
        source.write_text(_MARKS)
        compiled = subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], capture_output=True, check=False)  # noqa: S603, S607
        if compiled.returncode != 0:
            raise ValgrindMissingError("the header valgrind/callgrind.h is not installed")
        options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/counts"]
        command = ["valgrind", *options, sys.executable, "-m", "load.instructions", str(library)]
        env = os.environ | {"PYTHONHASHSEED": "0"}
        finished = subprocess.run(command, env=env, capture_output=True, check=False, text=True)  # noqa: S603
        if finished.returncode != 0:
            raise RuntimeError(finished.stderr)
        found = dict(_counted(each.read_text()) for each in folder.glob("counts.*"))
    return [found[number] // (_CONNECTIONS * _ROUNDS) for number in range(len(STAGES))]


def _counted(dump: str) -> tuple[int, int]:
    stage = re.search(r"^desc: Trigger: Client Request: stage (\d+)$", dump, re.MULTILINE)
    total = re.search(r"^(?:summary|totals): (\d+)$", dump, re.MULTILINE)
    return (int(stage[1]), int(total[1])) if stage and total else (-1, 0)


def instructions() -> list[Figure]:
    """One figure for each stage that has a bound; skipped, and said so, where it cannot be counted."""
    try:
        counts = count()
    except ValgrindMissingError as error:
        print(f"NOT MEASURED: INSTRUCTIONS OF A REQUEST, because {error}", file=sys.stderr)
        return []
    for stage, counted in zip(STAGES, counts, strict=True):
        print(f"{stage.name}: {counted:,} instructions", file=sys.stderr)
    return [
        Figure(
            f"{stage.name}, in process",
            counted / 1000,
            stage.instructions_max / 1000,
            "lower",
            f"{counts[0] / 1000:.1f} for {STAGES[0].name}",
            " thousand instructions",
        )
        for stage, counted in zip(STAGES, counts, strict=True)
        if stage.instructions_max is not None
    ]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _run_stages(Path(sys.argv[1]))
    else:
        instructions()
