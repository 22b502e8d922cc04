"""A mixture of several tasks. The original task of each problem writes its prompt and grades its replies.

    python run.py task=mixture +task@task.tasks.gsm8k=gsm8k "task.shares=[2,1,1]"

conf/task/mixture.yaml lists the tasks. In each cycle, every task contributes ``shares`` consecutive problems, in the
order of the list. Training problems of a smaller task are repeated. Validation and test problems occur once each.

An id has the form ``<task>/<id in the task>`` and a subject ``<task>: <subject in the task>``, so that tables separate
the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amend.errors import UserError
from amend.task.base import Task, TaskBase
from amend.task.dataset.jsonl import shown
from amend.task.dataset.lazy import LazyProblems
from amend.task.dataset.splits import Split
from amend.task.tools import Tool
from amend.types import Message, Problem, Verdict
from amend.value_types import Count


class Mixture(TaskBase):
    """A task made of other tasks. ``provenance`` combines the records of all tasks.

    Args:
        tasks: The tasks by name, at least two.
        shares: Number of consecutive problems of each task in a cycle, in the order of ``tasks``.

    Raises:
        UserError: If the shares do not match the tasks, or if the tasks have different kinds of tools.
    """

    composite = True  # the configuration of each part is a task with its own `_target_`

    def __init__(self, tasks: Mapping[str, Task], *, shares: list[Count]) -> None:
        if len(tasks) < 2 or len(shares) != len(tasks):
            raise UserError(
                f"task.shares={list(shares)}: allowed: one whole number for each of task.tasks ({', '.join(tasks)}); "
                "a mixture has two or more tasks"
            )
        self._tasks, self._shares = dict(tasks), dict(zip(tasks, shares, strict=True))
        self.provenance = {
            f"{name}/{table}": record for name, task in tasks.items() for table, record in task.provenance.items()
        }
        tools = [tool for task in tasks.values() if (tool := task.tool) is not None]
        if len({type(tool) for tool in tools}) > 1:
            raise UserError(f"task.tasks: {len(tools)} of them have a tool; allowed: one kind of tool for all")
        self.tool: Tool | None = next(iter(tools), None)
        self._fixed: dict[Split, list[Problem]] = {}

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split, mixed in proportion to the shares."""
        if split == "train":
            return _cycle({name: task.problems("train") for name, task in self._tasks.items()}, self._shares)
        if split not in self._fixed:
            self._fixed[split] = self._interleave({name: task.problems(split) for name, task in self._tasks.items()})
        return self._fixed[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the prompt that the original task writes."""
        task, original = self._original(problem)
        return task.render_prompt(original)

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, with one call for each task. The verdicts are in the order of the pairs."""
        graded: dict[int, Verdict] = {}
        for name, task in self._tasks.items():
            rows = [i for i, (problem, _) in enumerate(pairs) if problem.meta["task"] == name]
            if rows:
                verdicts = task.grade_many([(self._original(pairs[i][0])[1], pairs[i][1]) for i in rows])
                graded |= dict(zip(rows, verdicts, strict=True))
        return [graded[i] for i in range(len(pairs))]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem of a row.

        Args:
            row: A JSON object. Its ``id`` begins with the name of the task; without an id, ``task`` has the name.

        Returns:
            The problem.

        Raises:
            UserError: If the row names no task of the mixture, or if that task does not accept the row.
        """
        name, _, original_id = str(row.get("id", "")).partition("/")
        name = str(row.get("task", name))
        if name not in self._tasks:
            field = "task" if "task" in row or "id" not in row else "id"
            error = f"is {shown(row[field])}" if field in row else "is missing, and there is no field 'id'"
            raise UserError(
                f"field {field!r} {error}; allowed: one of {', '.join(self._tasks)} (in an id: before the /)"
            )
        return _rename(name, self._tasks[name].problem_from_row({**row, "id": original_id} if original_id else row))

    def close(self) -> None:
        """Close all tasks."""
        for task in self._tasks.values():
            task.close()

    def _original(self, problem: Problem) -> tuple[Task, Problem]:
        """Return the original task of a problem, and the problem with its original id and subject."""
        name = str(problem.meta["task"])
        meta = {**problem.meta, "subject": problem.meta["own subject"]}
        return self._tasks[name], replace(problem, id=problem.id.removeprefix(f"{name}/"), meta=meta)

    def _interleave(self, splits: Mapping[str, Sequence[Problem]]) -> list[Problem]:
        """Return every problem of all tasks once, ``shares`` of each task in turn."""
        mixed: list[Problem] = []
        start = dict.fromkeys(splits, 0)
        while any(start[name] < len(problems) for name, problems in splits.items()):
            for name, problems in splits.items():
                end = start[name] + self._shares[name]
                mixed += [_rename(name, problem) for problem in problems[start[name] : end]]
                start[name] = end
        return mixed


def _cycle(splits: Mapping[str, Sequence[Problem]], shares: Mapping[str, int]) -> LazyProblems:
    """Return training problems, ``shares`` of each task in turn. Every problem of every task occurs at least once."""
    pattern = [(name, place) for name, share in shares.items() for place in range(share)]
    cycles = max(-(-len(problems) // shares[name]) for name, problems in splits.items())

    def problem(index: int) -> Problem:
        cycle, place = divmod(index, len(pattern))
        name, offset = pattern[place]
        problems = splits[name]
        return _rename(name, problems[(cycle * shares[name] + offset) % len(problems)])

    return LazyProblems(problem, cycles * len(pattern))


def _rename(name: str, problem: Problem) -> Problem:
    """Return a problem of the task ``name`` with its id and subject in the mixture."""
    subject: Any = problem.meta.get("subject", "")
    meta = {**problem.meta, "task": name, "own subject": subject, "subject": f"{name}: {subject}" if subject else name}
    return replace(problem, id=f"{name}/{problem.id}", meta=meta)
