"""The soak's report: a Markdown page and its plots."""

import os
import platform
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from tests.faults.experiment import Run
from tests.faults.history import Ending
from tests.faults.overload import Step

mpl.use("Agg")
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Second:
    """One second of one run: acknowledged events, and how long their clients waited, in milliseconds."""

    at: float
    events: int
    median: float
    p99: float


@dataclass
class Soak:
    """All that a soak has found so far. Times are seconds since its begin."""

    seed: int
    minutes: float
    command: str
    begun: float
    runs: list[Run] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    marks: list[tuple[str, float, float]] = field(default_factory=list)
    # What is not a run of writers: name, and one sentence on how it went.
    others: list[tuple[str, str]] = field(default_factory=list)
    overload: list[Step] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Keep a run's figures and let its history go: twenty minutes of attempts are many."""
        self.runs.append(run)
        self.seconds.extend(_seconds(run, self.begun))
        self.marks.extend((name, begin - self.begun, end - self.begun) for name, begin, end in run.marks)
        self.complaints.extend(f"{run.name}, {run.kind} (--seed {run.seed}): {each}" for each in run.complaints)
        run.history.attempts.clear()
        run.history.reads.clear()


def write(soak: Soak, folder: Path) -> Path:
    """Write report.md and its plots; the page."""
    if soak.seconds:
        _plot_timeline(soak, folder / "timeline.png")
    if soak.overload:
        _plot_overload(soak.overload, folder / "overload.png")
    page = folder / "report.md"
    page.write_text("\n".join(_page(soak)) + "\n")
    return page


def _page(soak: Soak) -> list[str]:
    verdicts = [run.verdict for run in soak.runs if run.verdict is not None]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    totals = {
        "lost": sum(len(each.lost) for each in verdicts),
        "counted twice": sum(len(each.duplicated) for each in verdicts),
        "from nowhere": sum(len(each.phantom) for each in verdicts),
        "rows of refused requests": sum(len(each.refused_rows) for each in verdicts),
        "complaints": len(soak.complaints),
    }
    amounts = {
        "fault runs": len(soak.runs),
        "acknowledged events": sum(each.acknowledged for each in verdicts),
        "unknown outcomes": sum(each.unknown for each in verdicts),
        "suppressed duplicates": sum(each.suppressed for each in verdicts),
    }
    kinds = Counter(run.kind for run in soak.runs)
    return [
        "# Soak report",
        "",
        f"`{soak.command}` on {machine}: {', '.join(f'{count:,} {what}' for what, count in amounts.items())}.",
        "",
        f"**{', '.join(f'{what} {count}' for what, count in totals.items())}.**",
        "",
        f"Runs by what was sent: {', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}.",
        "",
        *(f"- {each}" for each in soak.complaints),
        *([""] if soak.complaints else []),
        "![Throughput and latency over time](timeline.png)",
        "",
        *_fault_table(soak.runs),
        "",
        *_other_table(soak.others),
        *_overload_table(soak.overload),
    ]


def _fault_table(runs: Sequence[Run]) -> list[str]:
    by_name: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_name[run.name].append(run)
    wrong_titles = " / ".join(["lost", "twice", "phantom", "refused"])
    lines = _head(
        {
            "fault": "---",
            "seeds": "---",
            "acknowledged": "---:",
            "unknown": "---:",
            "suppressed": "---:",
            "in trouble": "---:",
            wrong_titles: "---",
            "normal after, s": "---:",
            "verdict": "---",
        }
    )
    for name, group in sorted(by_name.items(), key=lambda each: (" + " in each[0], each[0])):
        verdicts = [run.verdict for run in group if run.verdict is not None]
        normal = [run.normal_after_seconds for run in group if run.normal_after_seconds is not None]
        wrong = (
            sum(len(each.lost) for each in verdicts),
            sum(len(each.duplicated) for each in verdicts),
            sum(len(each.phantom) for each in verdicts),
            sum(len(each.refused_rows) for each in verdicts),
        )
        cells = [
            name,
            ", ".join(str(run.seed) for run in group),
            f"{sum(each.acknowledged for each in verdicts):,}",
            f"{sum(each.unknown for each in verdicts):,}",
            f"{sum(each.suppressed for each in verdicts):,}",
            f"{sum(each.troubled for each in verdicts):,}",
            " / ".join(map(str, wrong)),
            f"{max(normal):.1f}" if len(normal) == len(group) else "too late",
            "**broken**" if any(run.complaints for run in group) else "held",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _head(columns: Mapping[str, str]) -> list[str]:
    """A table's titles and how each column is aligned."""
    return [f"| {' | '.join(columns)} |", f"|{'|'.join(columns.values())}|"]


def _other_table(others: Sequence[tuple[str, str]]) -> list[str]:
    if not others:
        return []
    return ["| what else | how it went |", "|---|---|", *(f"| {name} | {said} |" for name, said in others), ""]


def _overload_table(steps: Sequence[Step]) -> list[str]:
    if not steps:
        return []
    titles = ["offered/s", "not begun by k6/s", "goodput/s", "accepted p50, p99, ms", "refused/s", "refused p99, ms"]
    titles += ["improper", "memory growth, MiB", "normal after, s"]
    lines = ["![Overload](overload.png)", "", *_head({"load ÷ capacity": "---", **dict.fromkeys(titles, "---:")})]
    lines.extend(
        f"| {step.name} | {step.offered:.0f} | {step.not_begun:.0f} | {step.goodput:.0f}"
        f" | {step.accepted_median:.1f}, {step.accepted_p99:.1f} | {step.refused:.0f}"
        f" | {f'{step.refused_p99:.1f}' if step.refused else ''}"
        f" | {step.improper} | {step.memory_growth_bytes / _MIB:.0f} | {step.normal_after_seconds:.1f} |"
        for step in steps
    )
    return lines


def _seconds(run: Run, origin: float) -> list[Second]:
    waits: defaultdict[int, list[float]] = defaultdict(list)
    for attempt in run.history.attempts:
        if attempt.ending is Ending.OK:
            waits[int(attempt.ended - origin)].append((attempt.ended - attempt.begun) * 1000)
    found = []
    for second in range(int(run.begun - origin), max(waits, default=0) + 1):
        sorted_waits = sorted(waits.get(second, []))
        count = len(sorted_waits)
        median = sorted_waits[count // 2] if count else float("nan")
        p99 = sorted_waits[min(count - 1, int(count * 0.99))] if count else float("nan")
        found.append(Second(second, count, median, p99))
    return found


def _plot_timeline(soak: Soak, path: Path) -> None:
    minutes = [each.at / 60 for each in soak.seconds]
    width = max(12.0, min(60.0, 3.0 * (minutes[-1] - minutes[0] + 1)))
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(width, 7), layout="constrained")
    above.plot(minutes, [each.events for each in soak.seconds], ".", markersize=2, color="tab:blue")
    above.set_ylabel("acknowledged events/s")
    below.semilogy(minutes, [each.p99 for each in soak.seconds], ".", markersize=2, color="tab:red", label="p99")
    below.semilogy(minutes, [each.median for each in soak.seconds], ".", markersize=2, color="tab:blue", label="p50")
    below.set_ylabel("client waits, ms")
    below.set_xlabel("minutes since the begin; a fault stays as long as its grey bar is wide")
    below.legend(loc="upper left")
    for name, begin, end in soak.marks:
        for axes in (above, below):
            axes.axvspan(begin / 60, end / 60, color="grey", alpha=0.3, linewidth=0)
        above.text(begin / 60, above.get_ylim()[1], name, rotation=90, fontsize=4, va="top")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _plot_overload(steps: Sequence[Step], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(16, 4), layout="constrained")
    names = [step.name.replace(", ", "\n") for step in steps]
    left.bar(names, [step.goodput for step in steps], label="recorded", color="tab:blue")
    bottom = [step.goodput for step in steps]
    left.bar(names, [step.refused for step in steps], bottom=bottom, label="refused", color="tab:orange")
    left.set_ylabel("requests/s")
    left.legend()
    right.semilogy(names, [step.accepted_p99 for step in steps], "o", label="accepted, p99")
    refused = [step.refused_p99 if step.refused else float("nan") for step in steps]
    right.semilogy(names, refused, "o", label="refused, p99")
    right.set_ylabel("ms")
    right.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)
