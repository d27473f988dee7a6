"""The route that tells an operator the state of the installation."""

from fastapi import APIRouter, Request, Response

from contract.installation import Installation, RateLimitState, StoredState
from servicekit.http.openapi import refusals
from statistics_api import __version__
from statistics_api.access.documentation import OPERATOR_TOKEN
from statistics_api.access.tokens import operator_of
from statistics_api.administration.client import call
from statistics_api.administration.relaying import NOT_STORED
from statistics_api.rate_limit import RateLimit

router = APIRouter(prefix="/api/v1/installation", tags=["installation"])


@router.get(
    "",
    response_model=Installation,
    summary="The state of the installation",
    responses=refusals(401, 403, 422, 429, 503, as_problem=True),
    openapi_extra=OPERATOR_TOKEN,
)
async def read_installation(request: Request) -> Response:
    """What the metrics show, without a metrics system: the last `maintain` and `verify-counts`, open erasures, the age
    of the key-encryption key, the rate limit of the process that answers, and versions.
    """
    operator = await operator_of(request)
    answer = await call(request, "GET", "installation", query={"account_id": str(operator.account_id)})
    stored = StoredState.model_validate_json(answer.content)
    limit: RateLimit = request.state.rate_limit
    found = Installation(
        **stored.model_dump(),
        statistics_api_version=__version__,
        rate_limit=RateLimitState(rate=limit.rate, is_degraded=limit.is_degraded),
    )
    return Response(found.model_dump_json(), headers=NOT_STORED, media_type="application/json")
