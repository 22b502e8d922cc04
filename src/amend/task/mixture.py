"""Several tasks as one: each problem is asked, and its reply checked, by the task it came from.

    python run.py task=mixture +task@task.tasks.gsm8k=gsm8k "task.shares=[2,1,1]"

conf/task/mixture.yaml names the tasks; ``shares`` says how many problems in a row each has of every cycle, in their
order. Training problems of a smaller task come round again; validation and test problems are there once each, in turns.
An id is ``<task>/<its own id>``, and a subject ``<task>: <its own>``, so that tables keep them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amend.errors import UserError
from amend.task.base import Task
from amend.task.dataset.jsonl import shown
from amend.task.dataset.lazy import LazyProblems
from amend.task.dataset.splits import Split
from amend.task.tools import Tool, tool_of
from amend.types import Message, Problem, Verdict
from amend.value_types import Count


class Mixture:
    """``tasks`` by name, in order, and the share of each. ``provenance`` has what each of them read."""

    composite = True  # its parts are tasks, each with a `_target_` of its own

    def __init__(self, tasks: Mapping[str, Task], *, shares: list[Count]) -> None:
        if len(tasks) < 2 or len(shares) != len(tasks):
            raise UserError(
                f"task.shares={list(shares)}: allowed: a whole number for each of task.tasks ({', '.join(tasks)}), of "
                f"which there must be two or more"
            )
        self._tasks, self._shares = dict(tasks), dict(zip(tasks, shares, strict=True))
        self.provenance = {
            f"{name}/{table}": read
            for name, task in tasks.items()
            for table, read in getattr(task, "provenance", {}).items()
        }
        tools = [tool for task in tasks.values() if (tool := tool_of(task)) is not None]
        if len({type(tool) for tool in tools}) > 1:
            raise UserError(f"task.tasks: {len(tools)} of them bring a tool; allowed: one kind of tool for all")
        self.tool: Tool | None = next(iter(tools), None)
        self._fixed: dict[Split, list[Problem]] = {}

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, mixed."""
        if split == "train":
            return _cycle({name: task.problems("train") for name, task in self._tasks.items()}, self._shares)
        if split not in self._fixed:
            self._fixed[split] = self._once({name: task.problems(split) for name, task in self._tasks.items()})
        return self._fixed[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """As its own task asks it."""
        task, own = self._own(problem)
        return task.render_prompt(own)

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """As its own task checks it."""
        return self.grade_many([(problem, reply)])[0]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Each task's replies together, the verdicts in the order they were asked for."""
        found: dict[int, Verdict] = {}
        for name, task in self._tasks.items():
            mine = [i for i, (problem, _) in enumerate(pairs) if problem.meta["task"] == name]
            if mine:
                verdicts = task.grade_many([(self._own(pairs[i][0])[1], pairs[i][1]) for i in mine])
                found |= dict(zip(mine, verdicts, strict=True))
        return [found[i] for i in range(len(pairs))]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem of a line: an id says its task; a line of a data set's own fields has it in ``task``."""
        name, _, own = str(row.get("id", "")).partition("/")
        name = str(row.get("task", name))
        if name not in self._tasks:
            field = "task" if "task" in row or "id" not in row else "id"
            wrong = f"is {shown(row[field])}" if field in row else "is missing, and so is 'id'"
            raise UserError(f"field {field!r} {wrong}; allowed: one of {', '.join(self._tasks)} (an id: before its /)")
        return _named(name, self._tasks[name].problem_from_row({**row, "id": own} if own else row))

    def close(self) -> None:
        """End what the tasks have started."""
        for task in self._tasks.values():
            if (close := getattr(task, "close", None)) is not None:
                close()

    def _own(self, problem: Problem) -> tuple[Task, Problem]:
        """The task of a problem, and the problem as that knows it."""
        name = str(problem.meta["task"])
        meta = {**problem.meta, "subject": problem.meta["own subject"]}
        return self._tasks[name], replace(problem, id=problem.id.removeprefix(f"{name}/"), meta=meta)

    def _once(self, splits: Mapping[str, Sequence[Problem]]) -> list[Problem]:
        mixed: list[Problem] = []
        at = dict.fromkeys(splits, 0)
        while any(at[name] < len(problems) for name, problems in splits.items()):
            for name, problems in splits.items():
                upto = at[name] + self._shares[name]
                mixed += [_named(name, problem) for problem in problems[at[name] : upto]]
                at[name] = upto
        return mixed


def _cycle(splits: Mapping[str, Sequence[Problem]], shares: Mapping[str, int]) -> LazyProblems:
    """Training problems, ``shares`` of each task in turn, until every task has given all it has."""
    turn = [(name, place) for name, share in shares.items() for place in range(share)]
    cycles = max(-(-len(problems) // shares[name]) for name, problems in splits.items())

    def problem(index: int) -> Problem:
        cycle, place = divmod(index, len(turn))
        name, offset = turn[place]
        problems = splits[name]
        return _named(name, problems[(cycle * shares[name] + offset) % len(problems)])

    return LazyProblems(problem, cycles * len(turn))


def _named(name: str, problem: Problem) -> Problem:
    own: Any = problem.meta.get("subject", "")
    meta = {**problem.meta, "task": name, "own subject": own, "subject": f"{name}: {own}" if own else name}
    return replace(problem, id=f"{name}/{problem.id}", meta=meta)
