"""The measure for reads: a FastAPI route that does nothing, on the server that the product runs on."""

import sys

from fastapi import FastAPI

from servicekit.service.server import serve

app = FastAPI()


@app.get("/")
async def empty() -> dict[str, str]:
    """Nothing, as FastAPI does it."""
    return {}


def create_app() -> FastAPI:
    """What `serve` asks for."""
    return app


if __name__ == "__main__":
    serve(
        "load.empty_app:create_app", host="127.0.0.1", port=int(sys.argv[1]), keep_alive_seconds=75, in_flight_max=2000
    )
