"""Problems made when they are asked for, as a sequence like any other; and as many as differ."""

from __future__ import annotations

import pytest

from amend.task.dataset.lazy import LazyProblems, distinct
from amend.types import Problem


def numbered(index: int) -> Problem:
    return Problem(id=str(index), question=f"{index % 10}?", target="")


def test_it_is_a_sequence() -> None:
    drawn, listed = LazyProblems(numbered, 25), [numbered(i) for i in range(25)]
    assert list(drawn) == listed and len(drawn) == 25
    assert [drawn[0], drawn[24], drawn[-1], drawn[-25]] == [listed[0], listed[24], listed[-1], listed[0]]
    assert drawn[3:20:4] == listed[3:20:4] and drawn[20:99] == listed[20:] and drawn[-3:] == listed[-3:]
    for beyond in (25, -26):
        with pytest.raises(IndexError):
            drawn[beyond]


def test_nothing_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    drawn = LazyProblems(lambda index: made.append(index) or numbered(index), 2**31 - 1)
    assert [p.id for p in drawn[5:8]] == ["5", "6", "7"]
    assert made == [5, 6, 7]


def test_the_first_that_differ_and_fewer_where_there_are_no_more() -> None:
    assert [p.id for p in distinct(lambda i: numbered(i // 2), 3)] == ["0", "1", "2"]
    assert [p.id for p in distinct(numbered, 10)] == [str(i) for i in range(10)]
    assert len(distinct(numbered, 11)) == 10
    assert distinct(numbered, 0) == []


def test_a_rare_question_is_waited_for() -> None:
    found = distinct(lambda i: Problem(id=str(i), question="rare" if i == 900 else "common", target=""), 2)
    assert [p.id for p in found] == ["0", "900"]
