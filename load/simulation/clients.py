"""Those who send requests: a fixed number that wait for their answers, or a rate that waits for nothing."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple, TypeAlias

from simpy import Environment

from load.simulation.observations import Observer
from load.simulation.scheduling import Process, Then, after


class Answered(NamedTuple):
    """What becomes of a request: one of the two is called."""

    recorded: Then
    refused: Then


# Sends one request over the connection with this number.
Send: TypeAlias = Callable[[int, Answered], None]


def closed_loop(
    env: Environment, client: Process, seconds: float, connections: int, send: Send, observer: Observer
) -> None:
    """As wrk: each connection sends its next request when it has read the answer to its last one.

    `seconds` is the processor time that the client takes to read an answer and send a request.
    """

    def begin(connection: int) -> None:
        since = env.now
        observer.send()

        def recorded() -> None:
            observer.answer(since)
            begin(connection)

        def refused() -> None:
            observer.refuse()
            begin(connection)

        send(
            connection,
            Answered(lambda: client.do(seconds, recorded), lambda: client.do(seconds, refused)),
        )

    for connection in range(connections):
        client.do(seconds, partial(begin, connection))


def open_loop(
    env: Environment, client: Process, seconds: float, rate: float, send: Send, observer: Observer, draws: Random
) -> None:
    """Requests at times of a Poisson process, `rate` a second, whatever became of earlier ones.

    A request waits from the time at which it is due, also for a client that is late to send it.
    """

    def begin() -> None:
        since = env.now
        observer.send()

        def recorded() -> None:
            observer.answer(since)

        answered = Answered(lambda: client.do(seconds / 2, recorded), lambda: client.do(seconds / 2, observer.refuse))
        connection = draws.randrange(1 << 30)
        client.do(seconds / 2, lambda: send(connection, answered))
        after(env, draws.expovariate(rate), begin)

    after(env, draws.expovariate(rate), begin)
