"""The toy task: every symbol comes, and only its own repetition is right."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.errors import UserError
from amend.task.base import Task, TaskBase
from amend.task.identity import ALPHABET, Identity
from amend.types import Problem, Verdict


def test_every_symbol_is_asked_for_in_every_split() -> None:
    task = Identity(symbols=4, test=8)
    assert isinstance(task, Task)
    for split, count in (("train", 4096), ("val", 8), ("test", 8)):
        problems = task.problems(split)
        assert len(problems) == len({problem.id for problem in problems}) == count
        assert {problem.target for problem in problems} == set("0123")
    assert task.render_prompt(task.problems("test")[3])[0].content == "Say 3"


@pytest.mark.parametrize(
    ("reply", "answer", "why"),
    [
        ("3", "3", "right"),
        (" 3\n", "3", "right"),
        ("so \\boxed{3}", "3", "right"),
        ("33", "33", "wrong"),
        ("\\boxed{2}", "2", "wrong"),
        ("3 2", "3 2", "wrong"),
        ("", None, "no answer"),
    ],
)
def test_only_the_symbol_is_right(reply: str, answer: str | None, why: str) -> None:
    task = Identity(symbols=4, test=4)
    assert task.grade(task.problems("test")[3], reply) == (answer, why == "right", why)


@given(st.text())
def test_checking_is_total(reply: str) -> None:
    task = Identity(symbols=2, test=1)
    assert task.grade(task.problems("test")[0], reply).correct == (reply.strip() == "0" or "\\boxed{0}" in reply)


@pytest.mark.parametrize(("symbols", "test"), [(0, 1), (len(ALPHABET) + 1, 1), (2, 0)])
def test_impossible_sizes_are_refused(symbols: int, test: int) -> None:
    with pytest.raises(UserError, match="allowed"):
        Identity(symbols=symbols, test=test)


def test_a_line_is_recognised_by_its_id() -> None:
    task = Identity(symbols=4, test=3)
    for problem in (task.problems("train")[4095], *task.problems("val"), *task.problems("test")):
        assert task.problem_from_row({"id": problem.id}) == problem
    for unknown in ("identity-test-3", "identity-train-4096", "identity-exam-0", "identity-test-00", "", None):
        with pytest.raises(UserError, match="which this task does not know"):
            task.problem_from_row({"id": unknown})
    with pytest.raises(UserError, match="field 'id' is missing"):
        task.problem_from_row({})


def test_a_task_that_grades_one_reply_grades_many_and_the_other_way_round() -> None:
    """TaskBase has the defaults of a task; a class implements one grader, and the other follows."""

    class Single(TaskBase):
        def grade(self, problem: Problem, reply: str) -> Verdict:
            return Verdict(reply, reply == problem.target, "right" if reply == problem.target else "wrong")

    class Many(TaskBase):
        def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
            return [Single().grade(problem, reply) for problem, reply in pairs]

    problem = Problem("p", "1+1?", "2")
    for task in (Single(), Many()):
        assert [verdict.correct for verdict in task.grade_many([(problem, "2"), (problem, "3")])] == [True, False]
        assert task.grade(problem, "2").correct and task.tool is None and not task.provenance
        task.close()
