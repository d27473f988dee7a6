"""No personal data of a project's person is in the first database, readable in the others, or in a log."""

import httpx2

from tests.accounts.test_secrets import dumped, logged, ways_of_writing
from tests.log_files import all_written, lines_of
from tests.people.conftest import USER, USERS, client_of
from tests.personal_databases import PersonalDatabases
from tests.servers import Product

# Texts that are nowhere by chance.
EMAIL = "Zerafine.Quellmaltz@Example.com"
OTHER = "ormellia.vontragen@example.org"
USERNAME = "wendelgard-61"
FIRST, LAST = "Zerafine", "Quellmaltz"
PHONE = "004930118273645"
UNKNOWN = "quintessa.nobody"
FIELDS = {"email": EMAIL, "username": USERNAME, "first_name": FIRST, "last_name": LAST, "phone": PHONE}
MARKERS = (*FIELDS.values(), OTHER, UNKNOWN, "Quellmaltz@")


def use_everything(http: httpx2.Client) -> None:
    """Every route, with what succeeds and what is refused."""
    assert http.post(USER, json=FIELDS, headers={"Idempotency-Key": "k"}).status_code == 201
    assert http.post(USER, json=FIELDS, headers={"Idempotency-Key": "k"}).status_code == 201
    assert http.post(USER, json=FIELDS).status_code == 409
    assert http.post(USER, json=FIELDS | {"phone": PHONE + "x"}).status_code == 422
    assert http.post(USER, content=f'{{"email":"{EMAIL}","username":"{USERNAME}"').status_code == 422
    user_id = http.get(f"{USER}/{EMAIL}").json()["id"]
    for path, status in (
        (f"{USER}/{EMAIL.upper()}/", 200),
        (f"{USER}/{EMAIL.replace('@', '%40')}", 200),
        (f"/api/%75ser/{EMAIL}", 200),
        (f"{USER}/{UNKNOWN}", 404),
        (f"{USER}/{UNKNOWN}/{EMAIL}", 404),
        (f"{USER}/{UNKNOWN}%00", 404),
        (f"{USER}/{EMAIL}?email={EMAIL}", 422),
        (f"{USERS}/{EMAIL}", 404),
        (f"{USERS}?email={EMAIL}", 422),
        (f"/api/users/{EMAIL}", 404),
        (f"//api/user/{EMAIL}", 404),
        (f"/x/{EMAIL.replace('@', '%2540')}", 404),
    ):
        assert http.get(path).status_code == status, path
    for method in ("HEAD", "OPTIONS", "PUT"):
        http.request(method, f"{USER}/{EMAIL}")
    assert http.get(f"{USER}/{EMAIL}", headers={"X-API-Key": "ds_live_x"}).status_code == 401
    assert http.patch(USER, json={"email": EMAIL, "first_name": FIRST}).status_code == 201
    assert http.put(f"{USERS}/{user_id}", json={"email": OTHER}).status_code == 200
    assert http.get(f"{USERS}/{user_id}").json()["email"] == OTHER
    assert len(http.get(USERS).json()) == 1


def test_a_person_s_data_is_in_no_log_and_in_no_readable_column(
    product: Product, http: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    use_everything(http)
    log, stored = logged([product.public, product.private]), dumped(product, personal_databases)
    # The person and the requests are there.
    assert '"path":"/api/user/{email}"' in log
    assert '"path":"/api/v1/users/{user_id}"' in log
    assert "INSERT INTO public.project_person " in stored
    assert "INSERT INTO public.person " in stored
    assert "INSERT INTO public.creation_key " in stored
    everything = log + stored
    for marker in MARKERS:
        found = [way for way in ways_of_writing(marker) | {marker.replace("@", "%2540")} if way in everything]
        assert not found, found


def test_a_path_without_personal_data_is_logged_as_it_was_sent(product: Product) -> None:
    with client_of(product) as http:
        user_id = http.post(USERS, json={"username": "u", "email": "u@example.com"}).json()["id"]
        http.get(f"{USERS}/{user_id}")
        all_written(product.public)
    paths = [line.get("path") for line in lines_of(product.public)]
    assert f"{USERS}/{user_id}" in paths
