"""What an operator may switch on, what is off until then, and starts that are refused."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from local.database import base_environment
from local.ports import free_port
from local.services import Service, ServiceError, registration_service, statistics_service
from tests.auth_events.payloads import REGISTERED, event
from tests.servers import Product, StartProduct

ORIGIN = "https://dashboard.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, idempotency-key",
}
GOOD = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_NAME": "d", "DB_USER": "u", "DB_PASSWORD": "a-password-of-its-own"}
TOKEN = "a-token-of-the-tests-own"  # noqa: S105 - it opens nothing
START_SECONDS_MAX = 10.0
EXAMPLE = "change-me-please-really"


def test_by_default_no_other_origin_may_read(public: httpx2.Client) -> None:
    answer = public.get("/Log/auth/statistics", headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = public.options("/Log/auth", headers=PREFLIGHT)
    assert (preflight.status_code, preflight.headers["allow"]) == (204, "OPTIONS, POST")
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_by_default_no_client_is_limited(public: httpx2.Client) -> None:
    assert {public.get("/Log/auth/statistics").status_code for _ in range(300)} == {200}


def test_an_origin_that_is_named_may_read_and_record(start_product: StartProduct) -> None:
    product = start_product(env={"CORS_ORIGINS": f"https://other.example, {ORIGIN}"})
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        preflight = client.options("/Log/auth", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "idempotency-key" in preflight.headers["access-control-allow-headers"].lower()
        answer = client.post("/Log/auth", json=event("u"), headers={"Origin": ORIGIN})
        assert answer.json() == REGISTERED
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert all(name in exposed for name in ("etag", "idempotent-replayed", "retry-after", "x-request-id"))
        # A refusal can be read, too.
        assert client.post("/Log/auth", json={}, headers={"Origin": ORIGIN}).headers["access-control-allow-origin"]

        stranger = {"Origin": "https://stranger.example"}
        assert "access-control-allow-origin" not in client.get("/Log/auth/statistics", headers=stranger).headers
        assert client.options("/Log/auth", headers=PREFLIGHT | stranger).status_code == 400


@pytest.fixture(scope="module")
def cors(start_product: StartProduct) -> Iterator[httpx2.Client]:
    product = start_product(env={"CORS_ORIGINS": ORIGIN, "RATE_LIMIT": "200/hour"})
    with httpx2.Client(base_url=product.public_url, headers={"Origin": ORIGIN}, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "sent",
    [
        "content-type,traceparent",
        "baggage, tracestate, traceparent",
        "x-datadog-trace-id,x-b3-traceid,sentry-trace,elastic-apm-traceparent,newrelic",
        "authorization,x-api-key,idempotency-key,if-none-match,content-encoding",
        None,
    ],
)
def test_a_preflight_allows_whatever_a_page_has_to_send(cors: httpx2.Client, method: str, sent: str | None) -> None:
    asked = {"Access-Control-Request-Method": method}
    if sent is not None:
        asked["Access-Control-Request-Headers"] = sent
    answer = cors.options("/Log/auth", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert method in answer.headers["access-control-allow-methods"]
    if sent is not None:
        assert answer.headers["access-control-allow-headers"] == sent
    assert answer.headers["x-request-id"]


ANSWERS: dict[str, tuple[str, str, bytes, dict[str, str], int]] = {
    "recorded": ("POST", "/Log/auth", b'{"userKey":"u","deviceType":"iOS"}', {}, 200),
    "head": ("HEAD", "/Log/auth/statistics", b"", {}, 200),
    "current": ("GET", "/Log/auth/statistics", b"", {"If-None-Match": "*"}, 304),
    "csv": ("GET", "/Log/auth/timeseries?format=csv", b"", {}, 200),
    "options without a preflight": ("OPTIONS", "/Log/auth", b"", {}, 204),
    "bad value": ("GET", "/Log/auth/statistics?deviceType=x", b"", {}, 400),
    "no such path": ("GET", "/nowhere", b"", {}, 404),
    "not allowed": ("PUT", "/Log/auth", b"", {}, 405),
    "too large": ("POST", "/Log/auth", b"x" * 70_000, {}, 413),
    "coding": ("POST", "/Log/auth", b"{}", {"Content-Encoding": "br"}, 415),
    "refused key": ("GET", "/Log/auth/statistics", b"", {"X-API-Key": "x"}, 401),
    "malformed": ("POST", "/Log/auth", b"{", {}, 422),
    "unknown parameter": ("GET", "/health?x=1", b"", {}, 422),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_can_be_read_by_the_page(cors: httpx2.Client, name: str) -> None:
    method, path, body, headers, status = ANSWERS[name]
    answer = cors.request(method, path, content=body or None, headers=headers)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
    vary = {each.strip() for each in answer.headers["vary"].split(",")}
    is_of_project = path.startswith("/Log/auth/") and status in {200, 304}
    by_project = {"Authorization", "Cookie", "X-API-Key"} if is_of_project else set()
    assert vary == {"Origin"} | ({"Accept"} if "timeseries" in path else set()) | by_project


def test_a_429_and_a_503_can_be_read_by_the_page(start_product: StartProduct) -> None:
    product = start_product(env={"CORS_ORIGINS": ORIGIN, "RATE_LIMIT": "3/hour"})
    with httpx2.Client(base_url=product.public_url, headers={"Origin": ORIGIN}, trust_env=False) as client:
        answers = [client.get("/Log/auth/statistics") for _ in range(3)]
        answers.append(client.get("/Log/auth/statistics"))
        for each in product.privates:
            each.stop()
        answers.append(client.get("/readyz"))
    # Seen once: a 200 of /readyz, when another process's service had got the port. Its body says which need was met.
    assert [each.status_code for each in answers] == [200, 200, 200, 429, 503], answers[-1].text
    assert all(each.headers["access-control-allow-origin"] == ORIGIN for each in answers)


def test_a_client_that_asks_too_often_is_429_and_told_when_to_return(start_product: StartProduct) -> None:
    product = start_product(env={"RATE_LIMIT": "5/minute", "TRUSTED_PROXIES": "127.0.0.0/30"})

    def ask(
        address: str = "127.0.0.1", forwarded: str | None = None, path: str = "/Log/auth/statistics"
    ) -> httpx2.Response:
        transport = httpx2.HTTPTransport(local_address=address)
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        with httpx2.Client(base_url=product.public_url, transport=transport, trust_env=False) as client:
            return client.get(path, headers=headers)

    assert [ask().status_code for _ in range(6)] == [200] * 5 + [429]
    refused = ask()
    assert refused.json() == {"detail": "more than 5 per 1 minute", "code": "too-many-requests"}
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    # Another address is another client; health is for machines and has no limit.
    assert ask("127.0.0.5").status_code == 200
    assert all(ask(path=path).status_code == 200 for path in ("/livez", "/health", "/readyz"))
    # Behind a trusted proxy it is the last address that the proxy saw which counts, whatever a client wrote before it.
    assert [ask(forwarded=f"198.51.100.{n}, 203.0.113.9").status_code for n in range(6)] == [200] * 5 + [429]
    assert ask(forwarded="203.0.113.10").status_code == 200
    # Nobody else is believed.
    assert [ask("127.0.0.9", forwarded=f"203.0.113.{n}").status_code for n in range(6)] == [200] * 5 + [429]


MakeService = Callable[[Path, Mapping[str, str]], Service]


def start_refused(service: Service) -> str:
    """Start a service that must not start; what it wrote."""
    assert service.log is not None
    service.start()
    try:
        with pytest.raises(ServiceError, match="it ended with status"):
            service.wait_ready(START_SECONDS_MAX)
    finally:
        service.stop()
    return service.log.read_text()


def public_service(log: Path, env: Mapping[str, str]) -> Service:
    return statistics_service(
        base_environment() | {"ENVIRONMENT": "production"} | dict(env),
        port=free_port(),
        database=GOOD | {name: value for name, value in env.items() if name in GOOD},
        service_token=env.get("SERVICE_TOKEN", TOKEN),
        device_api_url="http://127.0.0.1:1",
        log=log,
    )


def private_service(log: Path, env: Mapping[str, str]) -> Service:
    return registration_service(
        base_environment() | {"ENVIRONMENT": "production"} | dict(env),
        port=free_port(),
        database=GOOD | {name: value for name, value in env.items() if name in GOOD},
        service_token=env.get("SERVICE_TOKEN", TOKEN),
        log=log,
    )


@pytest.mark.parametrize("make", [public_service, private_service])
@pytest.mark.parametrize("name", ["DB_PASSWORD", "SERVICE_TOKEN", "SERVICE_TOKEN_PREVIOUS"])
def test_an_example_secret_is_refused_in_production(make: MakeService, name: str, tmp_path: Path) -> None:
    said = start_refused(make(tmp_path / "log", {name: EXAMPLE}))
    assert f"{name} still has its example value" in said
    assert EXAMPLE not in said


def test_the_same_secret_is_good_for_a_laptop(product: Product) -> None:
    env = product.private.env | {"SERVICE_TOKEN": EXAMPLE, "ENVIRONMENT": "development"}
    service = Service("device-registration-api", env, port=free_port(), log=product.private.log)
    service.start()
    try:
        service.wait_ready()
    finally:
        service.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [("SERVICE_TOKEN", "short"), ("RATE_LIMIT", "often"), ("TRUSTED_PROXIES", "proxy.example"), ("LOG_FORMAT", "xml"),
     ("DB_PORT", "p"), ("ENVIRONMENT", "prod"), ("IN_FLIGHT_MAX", "0"), ("REDIS_URL", f"redis://:{TOKEN}/@redis")],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_stops_the_start_and_is_named(name: str, value: str, tmp_path: Path) -> None:
    said = start_refused(public_service(tmp_path / "log", {name: value}))
    assert name.lower() in said.lower()
    assert GOOD["DB_PASSWORD"] not in said
    assert TOKEN not in said
