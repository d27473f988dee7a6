"""What is known of the routes before the OpenAPI document is made is what the document says."""

from typing import Annotated, Any

import httpx2
from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import BaseModel

from servicekit.middleware.route_table import RouteTable
from servicekit.service.documentation import declared_paths, document_when_asked

SCHEMES = {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}


class Page(BaseModel):
    skip: int = 0
    limit: int = 10


def by_dependency(zone: str = "UTC") -> str:
    return zone


def application() -> FastAPI:
    """One route for each way to declare a query parameter."""
    app, inner, outer = FastAPI(), APIRouter(prefix="/inner/{inner_id}"), APIRouter(prefix="/outer")
    extra = {"parameters": [{"name": "from", "in": "query"}, {"name": "If-None-Match", "in": "header"}]}

    @inner.get("/things/{thing_id}", openapi_extra=extra)
    def read(thing_id: int, colour: Annotated[str, Query(alias="paint")] = "") -> str:
        return f"{thing_id}{colour}"

    @inner.delete("/things/{thing_id}")
    def delete(thing_id: int) -> int:
        return thing_id

    @app.get("/page")
    def page(page: Annotated[Page, Query()]) -> int:
        return page.skip

    @app.get("/zone", dependencies=[Depends(by_dependency)])
    @app.post("/zone", include_in_schema=False)
    def zone() -> None: ...

    outer.include_router(inner)
    app.include_router(outer, dependencies=[Depends(by_dependency)])
    return app


def declared(document: dict[str, Any]) -> dict[str, dict[str, frozenset[str]]]:
    found = RouteTable(document).declared
    return {path.template: dict(path.query_parameters) for path in found}


def test_each_path_has_its_methods_and_each_method_its_query_parameters() -> None:
    assert declared(declared_paths(application())) == {
        "/page": {"GET": {"skip", "limit"}},
        "/zone": {"GET": {"zone"}},
        "/outer/inner/{inner_id}/things/{thing_id}": {"GET": {"paint", "from", "zone"}, "DELETE": {"zone"}},
    }


def test_they_are_those_of_the_document() -> None:
    app = application()

    assert declared(declared_paths(app)) == declared(app.openapi())


async def test_the_document_is_made_when_it_is_asked_for_with_the_ways_to_send_a_credential() -> None:
    app = application()
    document_when_asked(app, SCHEMES)
    assert app.openapi_schema is None

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://app") as client:
        first, second = [(await client.get("/openapi.json")).json() for _ in range(2)]

    assert first == second == app.openapi()
    assert first["components"]["securitySchemes"] == SCHEMES
