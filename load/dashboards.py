"""What open dashboards cost those who send events: `python -m load.bench dashboards`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from load.environment import BenchEnvironment, Product
from load.figures import Figure, ratio
from load.wrk import Load, wrk

# With three, the median of the same product was once 1.02 and once 0.91.
ROUNDS = 9
DASHBOARDS = 200
_CONNECTIONS = 64
_EVENT = '{"userKey":"user-123","deviceType":"iOS"}'
_FOLDER = Path(__file__).parent
_SERIES = "/Log/auth/timeseries?interval=hour&timezone=Europe%2FBerlin"


def dashboards(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """The throughput of POST beside open overviews and without them, in turns."""
    pairs: list[tuple[float, float]] = []
    asked: list[float] = []
    with environment.product("dashboards") as product:
        for number in range(ROUNDS):
            # What comes first in a round changes, so that a machine that becomes faster or slower favours neither.
            alone = _alone(environment, product, seconds) if number % 2 == 0 else None
            environment.settle()
            with _open(product, seconds + 2) as looks:
                beside = _post(product, seconds)
            alone = alone or _alone(environment, product, seconds)
            pairs.append((beside.requests_per_second, alone.requests_per_second))
            asked.append(looks[0].requests_per_second)
    return [
        ratio(
            f"POST /Log/auth beside {DASHBOARDS} open dashboards ÷ alone",
            pairs,
            "/s",
            0.95,
            also=f"the dashboards sent {median(asked):.0f} requests/s",
        )
    ]


def _alone(environment: BenchEnvironment, product: Product, seconds: int) -> Load:
    environment.settle()
    return _post(product, seconds)


def _post(product: Product, seconds: int) -> Load:
    return wrk(
        f"{product.public.url}/Log/auth",
        connections=_CONNECTIONS,
        seconds=seconds,
        script=_FOLDER / "post.lua",
        arguments=[_EVENT],
        headers=[f"X-API-Key: {product.key}"],
    )


@contextmanager
def _open(product: Product, seconds: int) -> Iterator[list[Load]]:
    """Dashboards of one project; what they have asked is known at the end.

    They send its API key: the session of a browser is found in the same way, and this product has no accounts.
    """
    looks: list[Load] = []
    with ThreadPoolExecutor() as pool:
        looking = pool.submit(
            wrk,
            product.public.url,
            connections=DASHBOARDS,
            seconds=seconds,
            script=_FOLDER / "dashboard.lua",
            arguments=[_SERIES],
            headers=[f"X-API-Key: {product.key}"],
        )
        yield looks
        looks.append(looking.result())
