"""Says in a sentence why a row is refused, in the words of the model that refuses it from a client."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], fields: Mapping[str, object]) -> Model | str:
    """Return the validated row, or why it is refused: a sentence without the value, which may be personal data."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(sorted(f"{each['loc'][0]}: {each['msg'].removeprefix('Value error, ')}" for each in found))
