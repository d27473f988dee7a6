"""Sums of bands, as they are read of each part of a range, and the figures that they add up to."""

from array import array
from collections.abc import Iterable, Sequence
from operator import add
from typing import Any, NamedTuple

from statistics_api.api_requests.figures import Band, Figures


class BandSums(NamedTuple):
    """The requests of one group in one band. `cells` has their number in each cell of the band."""

    group: Any
    number: int
    requests: int
    client_errors: int
    server_errors: int
    us_sum: int
    us_min: int
    us_max: int
    cells: "array[int]"

    def plus(self, other: "BandSums") -> "BandSums":
        """Return the sums of the requests of both, which are of one band."""
        return BandSums(
            self.group,
            self.number,
            self.requests + other.requests,
            self.client_errors + other.client_errors,
            self.server_errors + other.server_errors,
            self.us_sum + other.us_sum,
            min(self.us_min, other.us_min),
            max(self.us_max, other.us_max),
            array("q", map(add, self.cells, other.cells)),
        )


def figures_of(folds: Iterable[Sequence[BandSums]]) -> dict[Any, Figures]:
    """Return the figures of each group that has requests."""
    groups: dict[Any, dict[int, BandSums]] = {}
    for fold in folds:
        for sums in fold:
            bands = groups.setdefault(sums.group, {})
            former = bands.get(sums.number)
            bands[sums.number] = sums if former is None else former.plus(sums)
    return {group: _figures([bands[number] for number in sorted(bands)]) for group, bands in groups.items()}


def _figures(ordered: Sequence[BandSums]) -> Figures:
    """Put the bands of one group together, the fastest first."""
    bands: list[Band] = []
    before = 0
    for each in ordered:
        bands.append(Band(each.number, before, each.requests, each.cells))
        before += each.requests
    return Figures(
        before,
        sum([each.client_errors for each in ordered]),
        sum([each.server_errors for each in ordered]),
        sum([each.us_sum for each in ordered]),
        min([each.us_min for each in ordered]),
        max([each.us_max for each in ordered]),
        bands,
    )
