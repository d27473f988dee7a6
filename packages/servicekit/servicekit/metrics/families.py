"""What a metric is: its name, its sort, its labels. The names follow https://prometheus.io/docs/practices/naming."""

from dataclasses import dataclass
from enum import StrEnum


class Sort(StrEnum):
    """What the numbers of a family are, as Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """All series of one metric. A counter's name ends in `_total`, and a name ends in its unit."""

    name: str
    help: str
    sort: Sort
    labels: tuple[str, ...] = ()
    # Of a histogram: the upper bounds of its buckets, ascending; the bucket of all greater values is not among them.
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers one series has: one, or of a histogram its buckets and the sum of its values."""
        return len(self.bounds) + 2 if self.sort is Sort.HISTOGRAM else 1


def counter(name: str, description: str, *labels: str) -> Family:
    """Return a family of numbers that only grow."""
    return Family(name, description, Sort.COUNTER, labels)


def gauge(name: str, description: str, *labels: str) -> Family:
    """Return a family of numbers that grow and shrink. Those of all processes of a service are added."""
    return Family(name, description, Sort.GAUGE, labels)


def histogram(name: str, description: str, *labels: str, bounds: tuple[float, ...]) -> Family:
    """Return a family of distributions; each counts its values in buckets."""
    return Family(name, description, Sort.HISTOGRAM, labels, bounds)
