"""Judges a history by the rows that the database really holds. Pure functions: it has tests of its own."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tests.faults.history import Attempt, Ending, History

_SHOWN = 5


@dataclass(frozen=True)
class Verdict:
    """What a run came to. `complaints` is empty for a run that proves the promises."""

    events: int
    acknowledged: int
    # Attempts that ended unknown, and answers that replayed an earlier one instead of counting again.
    unknown: int
    suppressed: int
    # Attempts that failed although their client had a right to an answer: what the faults did to the clients.
    troubled: int
    # Identities of events.
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    phantom: tuple[str, ...]
    refused_rows: tuple[str, ...]
    unresolved: tuple[str, ...]
    untrue_refusals: tuple[str, ...]
    # Sentences.
    false_reads: tuple[str, ...]
    improper: tuple[str, ...]

    @property
    def vacuous(self) -> bool:
        """A run without an unknown outcome or without a suppressed repeat has proved nothing."""
        return self.unknown == 0 or self.suppressed == 0

    def complaints(self) -> list[str]:
        """One sentence for each promise that was broken."""
        broken = {
            "acknowledged and not stored": self.lost,
            "stored more than once": self.duplicated,
            "stored though neither acknowledged nor unknown": self.phantom,
            "stored though refused, or to be refused": self.refused_rows,
            "still unknown after a repeat without faults": self.unresolved,
            "stored by an attempt that was answered not-recorded": self.untrue_refusals,
            "false reads": self.false_reads,
            "improper answers": self.improper,
        }
        said = [f"{len(found)} {what}: {', '.join(found[:_SHOWN])}" for what, found in broken.items() if found]
        if self.vacuous:
            said.append(f"vacuous: {self.unknown} unknown outcomes, {self.suppressed} suppressed duplicates")
        return said


def check(history: History, rows: Mapping[str, int], baseline: Mapping[str, int]) -> Verdict:
    """Compare a finished history with `rows` (of each identity) and `baseline` (each group's count before)."""
    by_identity: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        by_identity[attempt.identity].append(attempt)
    endings = {identity: {each.ending for each in attempts} for identity, attempts in by_identity.items()}
    ok = {identity for identity, seen in endings.items() if Ending.OK in seen}
    refused = {each.identity for each in history.attempts if each.refusable or each.ending is Ending.REFUSED}
    unknown = {identity for identity, seen in endings.items() if Ending.UNKNOWN in seen} - ok - refused
    stored = {identity for identity, count in rows.items() if count > 0}
    tally = Counter(attempt.ending for attempt in history.attempts)
    return Verdict(
        events=len(by_identity),
        acknowledged=len(ok),
        unknown=tally[Ending.UNKNOWN],
        suppressed=history.suppressed(),
        troubled=sum(attempt.ending is not Ending.OK and not attempt.on_purpose for attempt in history.attempts),
        lost=_sorted(ok - stored),
        duplicated=_sorted({identity for identity, count in rows.items() if count > 1}),
        phantom=_sorted(stored - ok - unknown),
        refused_rows=_sorted(stored & refused),
        unresolved=_sorted(unknown),
        untrue_refusals=_sorted({identity for identity in ok if _was_told_untruth(by_identity[identity])}),
        false_reads=tuple(_false_reads(history, baseline)),
        improper=tuple(history.improper),
    )


def _sorted(identities: set[str]) -> tuple[str, ...]:
    return tuple(sorted(identities))


def _was_told_untruth(attempts: list[Attempt]) -> bool:
    """Each attempt before the first success said that nothing was stored, and yet that success is a replay."""
    for attempt in attempts:
        if attempt.ending is Ending.UNKNOWN:
            return False
        if attempt.ending is Ending.OK:
            return attempt.replayed
    return False


def _false_reads(history: History, baseline: Mapping[str, int]) -> list[str]:
    """A count holds everything acknowledged before the read, and nothing that was not yet sent when it ended."""
    false = []
    for read in history.reads:
        counted = read.count - baseline.get(read.group, 0)
        if not read.acknowledged <= counted <= read.invoked:
            false.append(f"{read.group} read {counted}, not within {read.acknowledged}..{read.invoked}")
    return false
