"""GET /Log/auth/statistics: exact, at once, and cheap to ask again."""

import asyncio

import httpx2
import pytest

from tests.auth_events.payloads import DEVICE_TYPES, WINDOWS, event
from tests.servers import Product

URL = "/Log/auth/statistics"


def test_before_the_first_event_every_device_type_reads_0(public: httpx2.Client) -> None:
    assert public.get(URL).json() == {
        "statistics": [{"deviceType": name, "count": 0} for name in ("Android", "TV", "Watch", "iOS")],
        "total": 0,
    }
    assert public.get(URL, params={"deviceType": "TV"}).json() == {"deviceType": "TV", "count": 0}


def test_an_acknowledged_event_is_in_the_next_answer(public: httpx2.Client) -> None:
    counts = dict.fromkeys(DEVICE_TYPES, 0)
    for index in range(40):
        device_type = DEVICE_TYPES[index % 3]
        public.post("/Log/auth", json=event("u", device_type)).raise_for_status()
        counts[device_type] += 1
        one = public.get(URL, params={"deviceType": device_type})
        assert one.json() == {"deviceType": device_type, "count": counts[device_type]}
        assert public.get(URL).json() == {
            "statistics": [{"deviceType": name, "count": counts[name]} for name in sorted(counts)],
            "total": index + 1,
        }


async def test_each_of_many_concurrent_writers_reads_its_own_event(product: Product) -> None:
    """Reads are shared; nobody may get an answer that was asked for before their own commit."""
    async with httpx2.AsyncClient(base_url=product.public_url, timeout=20, trust_env=False) as client:
        begun = (await client.get(URL)).json()["total"]
        acknowledged = 0

        async def write_and_read() -> None:
            nonlocal acknowledged
            for _ in range(10):
                (await client.post("/Log/auth", json=event("concurrent"))).raise_for_status()
                acknowledged += 1
                known = acknowledged
                assert (await client.get(URL)).json()["total"] >= begun + known

        await asyncio.gather(*(write_and_read() for _ in range(16)))
        assert (await client.get(URL)).json()["total"] == begun + 160


@pytest.mark.parametrize("name", ["Windows", "ios", "IOS", " iOS", "", "iOS,TV", "\x00", "'; --", "🦉" * 50])
def test_an_unknown_device_type_is_400_with_the_documents_sentence(public: httpx2.Client, name: str) -> None:
    answer = public.get(URL, params={"deviceType": name})
    expected = WINDOWS.replace("'Windows'", repr(name))
    assert (answer.status_code, answer.json()) == (400, {"detail": expected})


def test_no_more_than_50_characters_of_an_unknown_device_type_are_repeated(public: httpx2.Client) -> None:
    answer = public.get("/Log/auth/statistics", params={"deviceType": "🦉" * 51})

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"Invalid deviceType '{'🦉' * 50}…'.")


@pytest.mark.parametrize("query", ["devicetype=iOS", "device_type=iOS", "deviceType=iOS&deviceType=TV", "x"])
def test_a_misspelt_or_repeated_filter_is_422_and_never_answers_with_everything(
    public: httpx2.Client, query: str
) -> None:
    answer = public.get(f"{URL}?{query}")
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["query", query.partition("=")[0]]]


@pytest.mark.parametrize("query", ["", "?deviceType=iOS"])
def test_an_answer_has_a_strong_etag_that_changes_with_it(public: httpx2.Client, query: str) -> None:
    first, second = public.get(URL + query), public.get(URL + query)
    etag = first.headers["etag"]
    assert etag == second.headers["etag"]
    assert etag[0] == etag[-1] == '"'
    assert len(etag) > 20
    public.post("/Log/auth", json=event("u")).raise_for_status()
    changed = public.get(URL + query, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '{}, "x"', '"a",W/{} ,"b"', "*", "{gzip}", 'W/{gzip},"x"'])
def test_an_answer_that_the_client_has_is_304_without_a_body(public: httpx2.Client, form: str) -> None:
    etag = public.get(URL).headers["etag"]
    for method in ("GET", "HEAD"):
        sent = form.format(etag, gzip=etag[:-1] + '-gzip"')
        answer = public.request(method, URL, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert answer.headers["cache-control"] == "no-cache"


def test_repeated_lines_are_one_list(public: httpx2.Client) -> None:
    etag = public.get(URL).headers["etag"]
    for tags in (['"x"', etag], [etag, '"x"'], ["", f"W/{etag}"]):
        answer = public.get(URL, headers=[("If-None-Match", tag) for tag in tags])
        assert answer.status_code == 304


@pytest.mark.parametrize("form", ['"other"', "", "{}x", "nonsense", '"*"'])
def test_any_other_tag_gets_the_whole_answer(public: httpx2.Client, form: str) -> None:
    current = public.get(URL)
    answer = public.get(URL, headers={"If-None-Match": form.format(current.headers["etag"])})
    assert (answer.status_code, answer.content) == (200, current.content)


def test_the_tag_of_one_device_type_is_not_the_tag_of_another(public: httpx2.Client) -> None:
    tags = {public.get(URL, params={"deviceType": name}).headers["etag"] for name in DEVICE_TYPES}
    assert len({public.get(URL).headers["etag"], *tags}) == 5
