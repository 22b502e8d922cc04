"""The two sources behind one class: the built-in problems through ``Math`` behave as they do by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.errors import UserError
from amend.job.grade import grade_file
from amend.task.base import Task
from amend.task.dataset.problem_families import FAMILIES
from amend.task.math import Math, known_facts


@pytest.fixture(scope="module")
def task() -> Math:
    return Math(
        source="builtin",
        prompt="End in \\boxed{answer}. {question}",
        levels=[1, 2, 3, 4, 5],
        families=list(FAMILIES),
        validation=20,
        test=40,
    )


def test_it_is_a_task_with_the_schema_of_math(task: Math) -> None:
    assert isinstance(task, Task) and task.provenance == {}
    for split in ("val", "test"):
        for problem in task.problems(split):
            assert {"level", "subject", "solution"} <= set(problem.meta)
            assert task.render_prompt(problem)[0].content == problem.question
            assert task.grade(problem, problem.meta["solution"]).correct
    assert len(task.problems("train")) > 10**6


@given(st.text(max_size=200))
def test_checking_is_total(task: Math, reply: str) -> None:
    verdict = task.grade(task.problems("test")[0], reply)
    assert verdict.correct == (verdict.reason == "right")


def test_rows_are_recognised_by_id_and_by_the_words_of_the_question(task: Math) -> None:
    for problem in [*task.problems("test"), *task.problems("train")[:40]]:
        assert task.problem_from_row({"id": problem.id}) == problem
        again = task.problem_from_row({"problem": problem.question, "answer": problem.target})
        assert again.meta["family"] == problem.meta["family"]
        assert task.grade(again, f"\\boxed{{{problem.target}}}").correct
        assert not task.grade(again, "\\boxed{0}").correct
    for unknown in ("builtin-test-x", "builtin-train-99999999999", "math-test-1"):
        with pytest.raises(UserError, match="does not know"):
            task.problem_from_row({"id": unknown})


def test_a_question_of_another_kind_is_graded_against_its_gold_answer(task: Math) -> None:
    assert known_facts("What is 1 + 1?", "2") == {}
    foreign = task.problem_from_row({"problem": "What is 1 + 1?", "answer": "2"})
    mixed = [(foreign, "\\boxed{2}"), (task.problems("test")[0], "\\boxed{nothing}"), (foreign, "\\boxed{3}")]
    assert [verdict.correct for verdict in task.grade_many(mixed)] == [True, False, False]
    assert "\\boxed" in task.render_prompt(foreign)[0].content


def test_a_file_of_builtin_replies_is_graded(task: Math, tmp_path: Path) -> None:
    problems = task.problems("test")
    rows = [{"id": problem.id, "reply": problem.meta["solution"]} for problem in problems]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert grade_file(task, tmp_path / "in.jsonl", tmp_path / "out.jsonl") == {"right": len(problems)}
