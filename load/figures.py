"""A measured figure beside the floor it must keep, as a table and as a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

# One figure that is a hundred times better than its floor must not hide how close the others are to theirs.
_DRAWN_MAX = 3.0


@dataclass(frozen=True)
class Figure:
    """One row. `value` is a ratio or carries its unit; `detail` says what it was made of.

    Without a floor it is shown and not judged: a time that depends on the machine's disk, for example.
    """

    name: str
    value: float
    floor: float | None
    better: Literal["higher", "lower"]
    detail: str
    unit: str = ""
    target: float | None = None

    @property
    def met(self) -> bool:
        """Whether the floor was met, if there is one."""
        if self.floor is None:
            return True
        return self.value >= self.floor if self.better == "higher" else self.value <= self.floor


def ratio(
    name: str,
    pairs: Sequence[tuple[float, float]],
    unit: str,
    floor: float | None,
    *,
    better: Literal["higher", "lower"] = "higher",
    target: float | None = None,
    also: str = "",
) -> Figure:
    """The median of the rounds' ratios: the machine's speed may drift between two rounds, not within one."""
    digits = ".2f" if unit == "ms" else ",.0f"
    ours, theirs = (format(median(side), digits) for side in zip(*pairs, strict=True))
    rounds = ", ".join(f"{a / b:.2f}" for a, b in pairs)
    detail = f"{ours} ÷ {theirs} {unit}; rounds {rounds}" + (f"; {also}" if also else "")
    return Figure(name, median(a / b for a, b in pairs), floor, better, detail, target=target)


def milliseconds(name: str, rounds: Sequence[float], floor: float | None = None) -> Figure:
    """The median of the rounds' times."""
    return Figure(name, median(rounds), floor, "lower", "rounds " + ", ".join(f"{each:.1f}" for each in rounds), " ms")


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile of at least one value."""
    points = quantiles([*values, *values[:1]] if len(values) == 1 else values, n=100, method="inclusive")
    return points[49], points[98]


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    lines = ["| figure | measured | floor | target | made of |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *map(row, figures)])


def row(figure: Figure) -> str:
    """The row of a figure in the table."""
    sign = "≥" if figure.better == "higher" else "≤"
    floor = "" if figure.floor is None else f"{sign} {figure.floor:g}{figure.unit}"
    target = "" if figure.target is None else f"{figure.target:g}{figure.unit}"
    measured = f"**{figure.value:.2f}{figure.unit}**" + ("" if figure.met else " (missed)")
    return f"| {figure.name} | {measured} | {floor} | {target} | {figure.detail} |"


def plot(figures: Sequence[Figure], file: Path) -> None:
    """Each judged figure as a bar in units of its floor: right of the line is good, whichever way it is measured."""
    # Here, not above: the table must not need it.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    judged = [(each, each.floor) for each in figures if each.floor is not None]
    scores = [
        min(_DRAWN_MAX, each.value / floor if each.better == "higher" else floor / max(each.value, 0.01))
        for each, floor in judged
    ]
    chart, axes = plt.subplots(figsize=(10, 0.5 * len(judged) + 1.5))
    colours = ["#2a7f62" if each.met else "#b3392f" for each, _ in judged]
    axes.barh([each.name for each, _ in judged], scores, color=colours)
    axes.axvline(1, color="black", linewidth=1)
    for row, (each, _) in enumerate(judged):
        axes.text(scores[row], row, f" {each.value:.2f}{each.unit}", va="center")
    axes.invert_yaxis()
    axes.set_xlabel(f"times better than the floor (the line); drawn up to {_DRAWN_MAX:g}")
    axes.set_xlim(right=max(scores, default=1) * 1.15)
    chart.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    chart.savefig(file)
    plt.close(chart)
