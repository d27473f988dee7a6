"""The checker itself, with made-up histories: each promise broken once, alone, and noticed."""

import pytest

from tests.faults.checker import check
from tests.faults.history import Attempt, Ending, History, Read

BASELINE = {"iOS": 7}


def attempt(identity: str, ending: Ending, **more: bool) -> Attempt:
    return Attempt(identity, 0.0, 1.0, ending, **more)


def sound_history() -> History:
    """One plain event, one whose answer was lost and whose repeat was recognised, one refused, one not recorded."""
    history = History()
    for identity in ("plain", "lost-answer", "not-recorded"):
        history.invoke(identity, "iOS")
    history.invoke("refused", None)
    history.conclude(attempt("plain", Ending.OK))
    history.conclude(attempt("lost-answer", Ending.UNKNOWN))
    history.conclude(attempt("lost-answer", Ending.OK, replayed=True))
    history.conclude(attempt("refused", Ending.REFUSED, refusable=True, on_purpose=True))
    history.conclude(attempt("not-recorded", Ending.NOT_RECORDED))
    history.reads.append(Read("iOS", 0.0, 1.0, acknowledged=2, count=9, invoked=3))
    return history


SOUND_ROWS = {"plain": 1, "lost-answer": 1}


def complaints(history: History, rows: dict[str, int]) -> list[str]:
    return check(history, rows, BASELINE).complaints()


def test_a_sound_run_has_no_complaint() -> None:
    verdict = check(sound_history(), SOUND_ROWS, BASELINE)
    assert verdict.complaints() == []
    assert (verdict.events, verdict.acknowledged, verdict.unknown, verdict.suppressed) == (4, 2, 1, 1)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ({"lost-answer": 1}, "1 acknowledged and not stored: plain"),
        ({"plain": 1, "lost-answer": 2}, "1 stored more than once: lost-answer"),
        (SOUND_ROWS | {"not-recorded": 1}, "1 stored though neither acknowledged nor unknown: not-recorded"),
        (SOUND_ROWS | {"never-sent": 1}, "1 stored though neither acknowledged nor unknown: never-sent"),
    ],
)
def test_rows_that_break_a_promise_are_noticed(rows: dict[str, int], complaint: str) -> None:
    assert complaints(sound_history(), rows) == [complaint]


def test_a_row_of_a_refused_event_is_noticed() -> None:
    assert "1 stored though refused, or to be refused: refused" in complaints(
        sound_history(), SOUND_ROWS | {"refused": 1}
    )


def test_a_row_of_a_bad_event_whose_answer_was_lost_is_noticed() -> None:
    history = sound_history()
    history.invoke("bad", None)
    history.conclude(attempt("bad", Ending.UNKNOWN, refusable=True))
    assert complaints(history, SOUND_ROWS) == []
    assert "1 stored though refused, or to be refused: bad" in complaints(history, SOUND_ROWS | {"bad": 1})


@pytest.mark.parametrize("stored", [0, 1])
def test_an_unknown_outcome_may_be_stored_or_not_but_must_not_stay_unknown(stored: int) -> None:
    history = sound_history()
    history.invoke("open", "iOS")
    history.conclude(attempt("open", Ending.UNKNOWN))
    assert history.unknown() == [("open", "iOS")]
    assert complaints(history, SOUND_ROWS | {"open": stored}) == ["1 still unknown after a repeat without faults: open"]

    history.conclude(attempt("open", Ending.OK))
    assert history.unknown() == []
    assert complaints(history, SOUND_ROWS | {"open": 1}) == []


def test_not_recorded_is_a_lie_if_the_first_success_after_it_is_a_replay() -> None:
    history = sound_history()
    history.conclude(attempt("not-recorded", Ending.OK, replayed=True))
    assert complaints(history, SOUND_ROWS | {"not-recorded": 1}) == [
        "1 stored by an attempt that was answered not-recorded: not-recorded"
    ]


@pytest.mark.parametrize(("count", "is_false"), [(8, True), (9, False), (10, False), (11, True)])
def test_a_read_holds_what_was_acknowledged_and_nothing_that_was_not_sent(count: int, is_false: bool) -> None:
    history = sound_history()
    history.reads[:] = [Read("iOS", 0.0, 1.0, acknowledged=2, count=count, invoked=3)]
    expected = [f"1 false reads: iOS read {count - 7}, not within 2..3"] if is_false else []
    assert complaints(history, SOUND_ROWS) == expected


def test_improper_answers_are_complaints() -> None:
    history = sound_history()
    history.improper.append("500 where 200 was due")
    assert complaints(history, SOUND_ROWS) == ["1 improper answers: 500 where 200 was due"]


@pytest.mark.parametrize("missing", [Ending.UNKNOWN, Ending.OK])
def test_a_run_without_an_unknown_outcome_or_without_a_suppressed_repeat_is_vacuous(missing: Ending) -> None:
    history = sound_history()
    history.attempts = [each for each in history.attempts if each.identity != "lost-answer" or each.ending != missing]
    history.invoke("another", "iOS")
    history.conclude(attempt("another", Ending.UNKNOWN))
    history.conclude(attempt("another", Ending.OK))
    if missing is Ending.UNKNOWN:
        history.attempts = [each for each in history.attempts if each.ending is not Ending.UNKNOWN]
    rows = {"plain": 1, "another": 1} | ({"lost-answer": 1} if missing is Ending.UNKNOWN else {})
    assert any(each.startswith("vacuous") for each in complaints(history, rows))


def test_the_bounds_of_a_read_follow_the_history() -> None:
    history = History()
    assert (history.acknowledged("iOS"), history.invoked("iOS")) == (0, 0)
    history.invoke("a", "iOS")
    history.invoke("a", "iOS")  # a repeat is the same event
    history.invoke("b", "TV")
    history.invoke("bad", None)
    history.conclude(attempt("a", Ending.UNKNOWN))
    assert (history.acknowledged("iOS"), history.invoked("iOS")) == (0, 1)
    history.conclude(attempt("a", Ending.OK))
    history.conclude(attempt("a", Ending.OK, replayed=True))
    assert (history.acknowledged("iOS"), history.invoked("iOS"), history.invoked("TV")) == (1, 1, 1)
