"""The messages between the public and the private service that create something for an account."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from contract.delivery import IdempotencyKey

Draft = TypeVar("Draft", bound=BaseModel)


class Creation(BaseModel, Generic[Draft]):
    """What is to be created, and the client's idempotency key."""

    model_config = ConfigDict(frozen=True)

    draft: SerializeAsAny[Draft]
    idempotency_key: IdempotencyKey | None = None
