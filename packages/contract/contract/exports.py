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
CHECKPOINT_ROWS = 10_000
# A checkpoint has some 300.
CURSOR_CHARACTERS_MAX = 1_000

# The parameters of an export. Between the services, the last one asks for the line with the names of the columns.
FORMAT = "format"
CURSOR = "cursor"
RECEIVED_FROM = "from"
WITH_NAMES = "with_names"

# Headers of a page, between the services.
CURSOR_HEADER = "X-Export-Cursor"
END_HEADER = "X-Export-End"
