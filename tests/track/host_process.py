"""An application in a process of its own, which forks as servers with preloading do, or ends right after a request."""

import os
import sys
from wsgiref.types import StartResponse

from device_statistics_track import TrackWSGIMiddleware

REQUESTS = 20


def answer(_environ: dict[str, object], start_response: StartResponse) -> list[bytes]:
    """Nothing, in one piece."""
    start_response("200 OK", [])
    return [b""]


app = TrackWSGIMiddleware(answer, consumer=lambda environ: str(environ["consumer"]))


def request(consumer: str) -> None:
    """One request, as a server makes it."""
    body = app({"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "consumer": consumer}, lambda *_: lambda _data: None)
    assert list(body) == [b""]


def main(children: int) -> None:
    """The parent answers before and after it forks; each process ends normally, so it flushes."""
    for _ in range(REQUESTS):
        request("parent")
    pids = []
    for number in range(children):
        pid = os.fork()
        if pid == 0:
            for _ in range(REQUESTS):
                request(f"child-{number}")
            sys.exit(0)
        pids.append(pid)
    for _ in range(REQUESTS):
        request("parent")
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
