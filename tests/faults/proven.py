"""The assertion that every fault test ends with."""

from pathlib import Path

from tests.faults.experiment import Run


def assert_proven(run: Run, folder: Path) -> None:
    """No complaint; else all of them, the seed to replay it, and where the history was saved."""
    verdict = run.verdict
    assert verdict is not None
    normal = "too late" if run.normal_after_seconds is None else f"after {run.normal_after_seconds:.1f} s"
    print(
        f"{run.name}, {run.kind}: --seed {run.seed}, {verdict.events} events, {verdict.acknowledged} acknowledged, "
        f"{verdict.unknown} unknown, {verdict.suppressed} suppressed, {verdict.troubled} in trouble, "
        f"normal {normal}"
    )
    if run.complaints:
        history = folder / "history.jsonl"
        run.history.save(history)
        raise AssertionError(
            "\n".join([f"{run.name}, {run.kind} (--seed {run.seed}), history in {history}:", *run.complaints])
        )
