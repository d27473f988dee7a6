"""Answers questions about API requests; equal questions at the same time share one query."""

from functools import partial

from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import BadRequest
from statistics_api.api_requests import answers, queries
from statistics_api.api_requests.answers import EndpointSeries, Table
from statistics_api.api_requests.kept import Kept
from statistics_api.api_requests.pages import RowsQuestion
from statistics_api.api_requests.questions import Metric, Question
from statistics_api.polling.current_answers import CurrentAnswers
from statistics_api.polling.tagged_answers import TaggedAnswer

READ_SECONDS_MAX = 3.0
# A million times are sorted in a quarter of a second.
EXACT_ROWS_MAX = 1_000_000
# About half a kilobyte each.
KEPT_BANDS_MAX = 40_000


class MetricsReader:
    """Reads the figures; one for each process, so that its requests share queries."""

    def __init__(self, database: Database) -> None:
        answer = partial(_answer, kept=Kept(KEPT_BANDS_MAX))
        self.answers = CurrentAnswers[Question | RowsQuestion](database, answer, seconds_max=READ_SECONDS_MAX)


def _answer(lease: Lease, question: Question | RowsQuestion, kept: Kept) -> TaggedAnswer:
    if isinstance(question, RowsQuestion):
        return _page(lease, question)
    table = _table(lease, kept, question)
    return table.answer(question.project.project_id, question.metric, as_csv=question.as_csv)


def _page(lease: Lease, question: RowsQuestion) -> TaggedAnswer:
    # One row more than the page has: then there is a next page.
    found = queries.rows(
        lease,
        question.project.project_id,
        (question.start, question.end),
        question.before,
        limit=question.page_size + 1,
        offset=question.offset,
    )
    shown = found[: question.page_size]
    headers = {"Link": question.link(shown)} if len(found) > len(shown) else {}
    return answers.rows(shown).answer(question.project.project_id, "requests", as_csv=question.as_csv, headers=headers)


def _table(lease: Lease, kept: Kept, question: Question) -> Table | EndpointSeries:
    project_id, threshold_ms = question.project.project_id, question.project.apdex_threshold_ms
    if question.metric is Metric.ENDPOINT_SERIES and question.buckets is not None:
        edges = question.buckets.edges
        return answers.endpoint_series(
            edges, queries.endpoint_counts(lease, kept, project_id, question.parts[0], edges)
        )
    if question.buckets is not None:
        edges, zone = question.buckets.edges, question.buckets.zone
        return answers.series(edges, zone, queries.series(lease, kept, project_id, question.parts[0], edges))
    if question.metric is Metric.ENDPOINTS:
        return answers.endpoints(
            queries.endpoints(lease, kept, project_id, question.parts), question.minutes, threshold_ms
        )
    if question.endpoint is not None:
        # The same sums as those of all endpoints, which are kept.
        rows = queries.endpoints(lease, kept, project_id, question.parts)
        return answers.endpoint_distribution(rows, question.endpoint)
    if question.metric is Metric.DISTRIBUTION:
        return answers.distribution(queries.figures(lease, kept, project_id, question.parts))
    if question.exact and queries.figures(lease, kept, project_id, question.parts).requests > EXACT_ROWS_MAX:
        raise BadRequest(f"exact=true is for at most {EXACT_ROWS_MAX} requests; shorten the range")
    whole = queries.whole(lease, kept, project_id, question.parts, question.days(), exact=question.exact)
    if question.exact and whole.kept != whole.figures.requests:
        raise BadRequest("some requests of this range are no longer kept, so exact=true is not possible")
    return answers.summary(whole, question.minutes, threshold_ms)
