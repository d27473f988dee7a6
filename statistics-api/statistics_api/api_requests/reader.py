"""Answers questions about API requests; equal questions at the same time share one query."""

from functools import partial

from servicekit.concurrency.request_collapsing import CollapsedReads
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from statistics_api.api_requests import answers, queries
from statistics_api.api_requests.answers import Table
from statistics_api.api_requests.questions import Metric, Question
from statistics_api.tagged_answers import TaggedAnswer

READ_SECONDS_MAX = 3.0


class MetricsReader:
    """Reads the figures; one for each process, so that its requests share queries."""

    def __init__(self, database: Database) -> None:
        async def read(question: Question) -> TaggedAnswer:
            # The answer is made in the thread of the query: thousands of rows would hold up the event loop.
            return await database.run(partial(_answer, question=question), READ_SECONDS_MAX)

        self.answers = CollapsedReads(read)


def _answer(lease: Lease, question: Question) -> TaggedAnswer:
    table = _table(lease, question)
    return table.answer(question.project.project_id, question.metric, as_csv=question.as_csv)


def _table(lease: Lease, question: Question) -> Table:
    project_id, threshold_ms = question.project.project_id, question.project.apdex_threshold_ms
    if question.buckets is not None:
        edges, zone = question.buckets.edges, question.buckets.zone
        return answers.series(edges, zone, queries.series(lease, project_id, question.parts[0], edges))
    if question.metric is Metric.ENDPOINTS:
        return answers.endpoints(queries.endpoints(lease, project_id, question.parts), question.minutes, threshold_ms)
    figures = queries.figures(lease, project_id, question.parts)
    if question.metric is Metric.DISTRIBUTION:
        return answers.distribution(figures)
    return answers.summary(figures, question.minutes, threshold_ms)
