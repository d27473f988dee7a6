"""What a project notices of another one that sends far more than it may: `python -m load.bench neighbours`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from load.environment import BenchEnvironment, Product
from load.figures import Figure, ratio
from load.write_loads import API_REQUESTS
from load.wrk import Load, wrk

ROUNDS = 3
# Requests in a second that the noisy project may send, and how many it sends at least.
_LIMIT = 50
_TIMES_ITS_LIMIT = 20
_POST = Path(__file__).parent / "post.lua"
# Connections, and the pause of each before a request: 100 and at most 1,600 requests in a second.
_QUIET = (4, 40)
_NOISY = (16, 10)


def neighbours(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """The slowest of a hundred requests of one project, with and without the other."""
    pairs: list[tuple[float, float]] = []
    times: list[float] = []
    with environment.product("neighbours") as product:
        noisy = environment.key_of_another_project(product, f"{_LIMIT}/second")
        for _ in range(ROUNDS):
            environment.settle()
            alone = _send(product, product.key, _QUIET, seconds)
            environment.settle()
            with ThreadPoolExecutor() as pool:
                other = pool.submit(_send, product, noisy, _NOISY, seconds + 2, may_be_refused=True)
                beside = _send(product, product.key, _QUIET, seconds)
                loud = other.result()
            _check(loud)
            pairs.append((beside.p99, alone.p99))
            times.append(loud.requests_per_second / _LIMIT)
    return [
        ratio(
            f"POST {API_REQUESTS.path} of a project, p99 beside one at {_TIMES_ITS_LIMIT} times its limit ÷ alone",
            pairs,
            "ms",
            2.0,
            better="lower",
            also=f"0 errors; the other sent {median(times):.0f} times its limit",
        )
    ]


def _send(product: Product, key: str, pace: tuple[int, int], seconds: int, *, may_be_refused: bool = False) -> Load:
    connections, pause = pace
    return wrk(
        product.public.url + API_REQUESTS.path,
        connections=connections,
        seconds=seconds,
        script=_POST,
        arguments=[API_REQUESTS.event, str(pause)],
        headers=[f"X-API-Key: {key}"],
        may_be_refused=may_be_refused,
    )


def _check(loud: Load) -> None:
    if loud.requests_per_second < _TIMES_ITS_LIMIT * _LIMIT or not loud.refused:
        message = f"the noisy project was not noisy: {loud}"
        raise ValueError(message)
