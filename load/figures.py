"""A measured figure beside the floor it must keep, as a table and as a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# One figure that is a hundred times better than its floor must not hide how close the others are to theirs.
_DRAWN_MAX = 3.0


@dataclass(frozen=True)
class Figure:
    """One row. `value` is a ratio or carries its unit; `detail` says what it was made of."""

    name: str
    value: float
    floor: float
    better: Literal["higher", "lower"]
    detail: str
    unit: str = ""
    target: float | None = None

    @property
    def met(self) -> bool:
        """Whether the floor was met."""
        return self.value >= self.floor if self.better == "higher" else self.value <= self.floor


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    lines = ["| figure | measured | floor | target | made of |", "|---|---|---|---|---|"]
    for figure in figures:
        bound = "≥" if figure.better == "higher" else "≤"
        target = "" if figure.target is None else f"{figure.target:g}{figure.unit}"
        measured = f"**{figure.value:.2f}{figure.unit}**" + ("" if figure.met else " (missed)")
        lines.append(
            f"| {figure.name} | {measured} | {bound} {figure.floor:g}{figure.unit} | {target} | {figure.detail} |"
        )
    return "\n".join(lines)


def plot(figures: Sequence[Figure], file: Path) -> None:
    """Each figure as a bar in units of its floor: target the line is good, whichever way it is measured."""
    # Here, not above: the table must not need it.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    scores = [
        min(_DRAWN_MAX, each.value / each.floor if each.better == "higher" else each.floor / max(each.value, 0.01))
        for each in figures
    ]
    chart, axes = plt.subplots(figsize=(10, 0.5 * len(figures) + 1.5))
    colours = ["#2a7f62" if each.met else "#b3392f" for each in figures]
    axes.barh([each.name for each in figures], scores, color=colours)
    axes.axvline(1, color="black", linewidth=1)
    for row, each in enumerate(figures):
        axes.text(scores[row], row, f" {each.value:.2f}{each.unit}", va="center")
    axes.invert_yaxis()
    axes.set_xlabel(f"times better than the floor (the line); drawn up to {_DRAWN_MAX:g}")
    axes.set_xlim(right=max(scores) * 1.15)
    chart.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    chart.savefig(file)
    plt.close(chart)
