"""POST /Log/auth by FastAPI and asyncpg: one insert a request over a pool of 20 connections, and no second service.

It runs in a virtual environment of its own, without the project's packages. The PG* variables name the database.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import asyncpg
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, StringConstraints

POOL_CONNECTIONS = 20
# asyncpg prepares a statement once a connection and keeps it.
INSERT = """
INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
VALUES (1, now(), gen_random_uuid(), now(), $1, $2)
"""


class AuthEvent(BaseModel):
    """One sign-in."""

    userKey: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]  # noqa: N815
    deviceType: Literal["Android", "TV", "Watch", "iOS"]  # noqa: N815


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The pool, as long as the application."""
    async with asyncpg.create_pool(min_size=POOL_CONNECTIONS, max_size=POOL_CONNECTIONS) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/Log/auth")
async def log_auth(event: AuthEvent) -> dict[str, object]:
    """Store one sign-in; the transaction is committed when this answers."""
    await app.state.pool.execute(INSERT, event.deviceType, event.userKey)
    return {"statusCode": 200, "message": "Device registered successfully"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
