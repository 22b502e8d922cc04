"""What the pool remembers: verdicts for good, and that the clock ran out only once it did so twice."""

from __future__ import annotations

import pytest

from amend.task.grading import worker_pool
from amend.task.grading.worker_pool import Pool

SLOW, QUICK = ("7+x", "9^{9^{9^9}}"), ("7+x", "x+7")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[Pool, list[str], list[str]]:
    """A pool that never starts a worker, the outcomes that are to come, and the answers that were asked about."""
    made, coming, seen = Pool(seconds=1.0), [], []  # type: ignore[var-annotated]

    class Workers:
        def schedule(self, function: object, args: list[object], timeout: float) -> str:
            seen.append(str(args[1]))
            return coming.pop(0)

    monkeypatch.setattr(made, "_ensure_workers", Workers)
    monkeypatch.setattr(made, "_result", lambda outcome: outcome)
    return made, coming, seen


def test_an_answer_that_ran_out_of_time_is_tried_again_after_a_while(
    asked: tuple[Pool, list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, coming, seen = asked
    clock = [100.0]
    monkeypatch.setattr(worker_pool.time, "monotonic", lambda: clock[0])
    coming += ["timeout", "right", "right"]
    assert made.compare([SLOW, QUICK]) == {SLOW: "timeout", QUICK: "right"}
    assert made.compare([SLOW, QUICK]) == {SLOW: "timeout", QUICK: "right"}  # at once: remembered
    clock[0] += worker_pool.RETRY_AFTER
    assert made.compare([SLOW, QUICK]) == {SLOW: "right", QUICK: "right"}  # the machine was busy, that time
    assert seen == [SLOW[1], QUICK[1], SLOW[1]]


def test_one_that_runs_out_of_time_twice_is_believed(
    asked: tuple[Pool, list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, coming, seen = asked
    clock = [100.0]
    monkeypatch.setattr(worker_pool.time, "monotonic", lambda: clock[0])
    coming += ["timeout", "timeout"]
    for _ in range(4):
        assert made.compare([SLOW]) == {SLOW: "timeout"}
        clock[0] += worker_pool.RETRY_AFTER
    assert len(seen) == 2


def test_what_is_remembered_of_slow_answers_is_bounded(
    asked: tuple[Pool, list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, coming, _ = asked
    monkeypatch.setattr(worker_pool, "CACHE_SIZE", 3)
    coming += ["timeout"] * 5
    made.compare([("1", str(i)) for i in range(5)])
    assert len(made._late) <= 3 and len(made._known) <= 3
