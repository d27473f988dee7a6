"""All events of one kind of a project, in the order of their transactions: the words of an export and of its pages."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from contract.delivery import LINES_TYPE


class ExportFormat(StrEnum):
    """How rows are written."""

    NDJSON = "ndjson"
    CSV = "csv"


CSV_TYPE = "text/csv"
MEDIA_TYPES: Mapping[ExportFormat, str] = MappingProxyType(
    {ExportFormat.NDJSON: LINES_TYPE, ExportFormat.CSV: CSV_TYPE}
)

# The member of a line, or the last column in CSV, with the cursor that goes on behind it.
CHECKPOINT = "checkpoint"
# Beside it in the last line of an export: there is nothing more now.
END = "end"
# Beside that: how many rows there were since the export began, or went on behind a checkpoint. CSV has no END, and this
# as a column that is empty in every other line.
ROWS = "rows"
CHECKPOINT_ROWS = 10_000
# A checkpoint has some 300.
CURSOR_CHARACTERS_MAX = 1_000

# The parameters of an export.
FORMAT = "format"
CURSOR = "cursor"
RECEIVED_FROM = "from"
# And of a page that is not the first one, between the services: how many rows there were before.
ROWS_BEFORE = "rows_before"

# Headers of a page, between the services.
CURSOR_HEADER = "X-Export-Cursor"
END_HEADER = "X-Export-End"
ROWS_HEADER = "X-Export-Rows"
