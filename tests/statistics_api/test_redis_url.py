"""A REDIS_URL that is not one is refused in one sentence, which quotes nothing of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from valkey.asyncio import ConnectionPool

from statistics_api.settings import Settings

REQUIRED = {
    "db_host": "database",
    "db_name": "name",
    "db_user": "reader",
    "db_password": "database-password",
    "service_token": "a-token-of-the-tests",
    "device_api_url": "http://device-registration-api:8001",
}
SECRET = "s3cret-of-the-store"  # noqa: S105


def settings(url: str) -> Settings:
    return Settings.model_validate(REQUIRED | {"redis_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "redis://redis:6379",
        "redis://redis:6379/",
        "redis://redis:6379/15",
        f"redis://:{SECRET}@redis:6379/0",
        f"rediss://user:{SECRET}@redis.example:6380?ssl_ca_certs=/etc/ca.pem",
        f"valkey://user:{SECRET}@[2001:db8::1]:6379",
        f"valkeys://:{SECRET}%2F%40@redis",
    ],
)
def test_a_url_of_redis_or_valkey_is_accepted_and_never_shown(url: str) -> None:
    accepted = settings(url)
    assert accepted.redis_url is not None
    assert accepted.redis_url.get_secret_value() == url
    assert SECRET not in repr(accepted)
    ConnectionPool.from_url(url)  # the client understands the same


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"http://:{SECRET}@redis",
        f"unix:///run/{SECRET}",
        f"redis:{SECRET}@redis",
        f"redis://:{SECRET}@",
        f"redis://:{SECRET}@:6379",
        f"redis://:{SECRET}@redis:0",
        f"redis://:{SECRET}@redis:65536",
        f"redis://:{SECRET}@redis:{SECRET}",
        f"redis://:{SECRET}/@redis",
        f"redis://:{SECRET}@redis/{SECRET}",
        f"redis://:{SECRET}@redis/0/1",
        f"redis://:{SECRET}@redis/-1",
        f"redis://:{SECRET}#@redis",
        f"redis://:{SECRET}@redis#0",
        f"redis://:{SECRET}@[2001:db8::1",
        f"redis://:{SECRET}@redis?socket_timeout=60",
        f"redis://:{SECRET}@redis?password={SECRET}",
        f"redis://:{SECRET}@re dis",
        f"redis://:{SECRET}@redis\x00",
    ],
)
def test_anything_else_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(url)
    assert SECRET not in str(refused.value)
    (error,) = refused.value.errors(include_input=False, include_context=False)
    assert error["loc"] == ("redis_url",)
    assert error["msg"].startswith("Value error, must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]")


def test_without_it_nothing_is_shared() -> None:
    assert Settings.model_validate(REQUIRED).redis_url is None


@given(
    st.text(max_size=30), st.sampled_from(["", "redis://", "rediss://:p@", "valkey://h:", "redis://h/", "redis://h?"])
)
def test_what_is_accepted_the_client_understands(text: str, beginning: str) -> None:
    try:
        accepted = settings(beginning + text)
    except ValidationError:
        return
    if accepted.redis_url is not None:
        ConnectionPool.from_url(accepted.redis_url.get_secret_value())
