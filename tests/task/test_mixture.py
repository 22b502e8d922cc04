"""Several tasks as one: who poses a problem checks it, and nobody's problems are lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from composed import composed
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.components import build_task
from amend.errors import UserError
from amend.job.grade import grade_file
from amend.task.base import Task
from amend.task.identity import Identity
from amend.task.math import Math
from amend.task.mixture import Mixture
from amend.task.tools import Calculator
from amend.types import Problem


def math() -> Math:
    return Math(
        source="builtin",
        levels=[1, 2],
        families=["pair"],
        validation=4,
        test=7,
        prompt="End in \boxed{answer}. {question}",
    )


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return Mixture({"math": math(), "say": Identity(symbols=4, test=3)}, shares=[2, 1])


def test_problems_come_in_their_shares_and_test_problems_once_each(mixture: Mixture) -> None:
    assert isinstance(mixture, Task)
    train = mixture.problems("train")
    assert [p.meta["task"] for p in train[:6]] == ["math", "math", "say"] * 2
    assert [p.id for p in train[:3]] == ["math/builtin-train-0", "math/builtin-train-1", "say/identity-train-0"]
    assert train[3 * 4096 + 2].id == "say/identity-train-0"  # the smaller comes round again
    assert len(train) == 3 * 2**30 and train[-1] == train[len(train) - 1]
    test = mixture.problems("test")
    assert Counter(p.meta["task"] for p in test) == {"math": 7, "say": 3} and len({p.id for p in test}) == 10
    assert [p.meta["task"] for p in test[:4]] == ["math", "math", "say", "math"]
    assert {p.meta["subject"].partition(":")[0] for p in test} == {"math", "say"}


def test_each_is_asked_and_checked_by_its_own(mixture: Mixture) -> None:
    own = {"math": math(), "say": Identity(symbols=4, test=3)}
    for split in ("val", "test"):
        for problem in mixture.problems(split):
            task = own[problem.meta["task"]]
            inner = task.problem_from_row({"id": problem.id.partition("/")[2]})
            assert mixture.render_prompt(problem) == task.render_prompt(inner)
            for reply in (inner.meta["solution"], problem.target, f"\\boxed{{{problem.target}}}", "\\boxed{0}", ""):
                assert mixture.grade(problem, reply) == task.grade(inner, reply)
            assert mixture.problem_from_row({"id": problem.id}) == problem
    pairs = [(problem, problem.meta["solution"]) for problem in mixture.problems("test")]
    assert all(verdict.correct for verdict in mixture.grade_many(pairs))
    assert mixture.grade_many([]) == []


def test_a_file_of_replies_to_several_tasks_is_graded(mixture: Mixture, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": p.id, "reply": p.meta["solution"]} for p in mixture.problems("test")]
    rows.append({"task": "math", "problem": "What is 1 + 1?", "answer": "2", "reply": "\\boxed{3}"})
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert grade_file(mixture, tmp_path / "in.jsonl", tmp_path / "out.jsonl") == {"right": 10, "wrong": 1}
    for row, said in (({}, "'task' is missing"), ({"id": "x/1"}, "'id' is \"x/1\"; allowed: one of math, say")):
        with pytest.raises(UserError, match=said):
            mixture.problem_from_row(row)


@settings(max_examples=25)
@given(reply=st.text())
def test_checking_is_total(mixture: Mixture, reply: str) -> None:
    for problem in mixture.problems("test")[:3]:
        verdict = mixture.grade(problem, reply)
        assert verdict.correct == (verdict.reason == "right")


def test_provenance_tools_and_closing() -> None:
    class Reads(Identity):
        provenance: ClassVar[dict[str, Any]] = {"test": {"source": "f", "sha256": "0", "rows": 3}}
        tool = Calculator()
        closed = 0

        def close(self) -> None:
            self.closed += 1

    reads = Reads(symbols=2, test=2)
    made = Mixture({"a": reads, "b": Identity(symbols=2, test=2)}, shares=[1, 1])
    assert made.provenance == {"a/test": {"source": "f", "sha256": "0", "rows": 3}}
    assert made.tool is Reads.tool
    made.close()
    assert reads.closed == 1

    class Other(Identity):
        tool = type("Abacus", (Calculator,), {})()

    with pytest.raises(UserError, match="one kind of tool"):
        Mixture({"a": reads, "b": Other(symbols=2, test=2)}, shares=[1, 1])


@pytest.mark.parametrize("shares", [[1], [1, 1, 1]])
def test_a_share_for_each_and_two_at_least(shares: list[int]) -> None:
    with pytest.raises(UserError, match=r"task\.shares=.*allowed"):
        Mixture({"a": Identity(symbols=2, test=2), "b": Identity(symbols=2, test=2)}, shares=shares)


def test_the_configuration_builds_it() -> None:
    changed = ["task.tasks.math.test=5", "task.tasks.algorithmic.test=5", "task.tasks.algorithmic.validation=1"]
    made = build_task(composed("task=mixture", "+task@task.tasks.say=identity", "task.shares=[1,1,2]", *changed))
    assert isinstance(made, Mixture)
    problems: list[Problem] = list(made.problems("train")[:4])
    assert [p.meta["task"] for p in problems] == ["math", "algorithmic", "say", "say"]
