"""Checks the service token, which statistics-api sends and which both services get from their operator."""

import hmac

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from device_registration_api.settings import Settings
from servicekit.errors import NotAuthenticated


class ServiceToken(SecurityBase):
    """A dependency that the OpenAPI document shows. During a rotation, the previous token is accepted, too."""

    def __init__(self, settings: Settings) -> None:
        self.model = HTTPBearer(description="The operator's SERVICE_TOKEN.")
        self.scheme_name = "serviceToken"
        tokens = [settings.service_token, settings.service_token_previous]
        self._accepted = [f"Bearer {token.get_secret_value()}".encode() for token in tokens if token]

    async def __call__(self, request: Request) -> None:
        """Let the request pass.

        Raises:
            NotAuthenticated: the header is missing or wrong.
        """
        shown = request.headers.get("Authorization", "").encode()
        # Every token is compared, in constant time, so the duration tells nothing about them.
        matches = [hmac.compare_digest(shown, accepted) for accepted in self._accepted]
        if not any(matches):
            raise NotAuthenticated("a valid service token is needed")
