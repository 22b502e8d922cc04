"""MBPP (Austin et al. 2021, arXiv 2108.07732): write a short Python program, given a sentence and three asserts.

    python run.py task=mbpp policy=hf policy.path=owner/model algo.max_tokens=512

SCoRe (arXiv 2409.12917) trains on MBPP. The prompt is the one of the MBPP paper, after up to three examples with task
ids 2, 3 and 4. The splits are the published ones by task id: 601-974 train, 511-600 validation, 11-510 test.

With ``first_attempts``, the task is MBPP-R (Ni et al. 2024): repair incorrect first attempts of another model. Each
line of this JSON Lines file has a ``reply`` and the ``task_id`` that it answers. The prompt then contains the attempt
and the request to correct it, so the task needs dialogue=single. Only problems with an attempt in the file are used. An
attempt is left out if its line has ``"correct": true``, as in the output of job=grade. The attempts are not run.

A source is a file, a folder with mbpp.jsonl, or a hub id. Rows have the fields ``task_id``, ``text`` (or ``prompt``)
and ``test_list``, and optionally ``code``, ``test_setup_code`` and ``test_imports``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from amend.errors import UserError
from amend.task.base import TaskBase
from amend.task.dataset.jsonl import Row, at, shown, text
from amend.task.dataset.sources import Table, first_file, from_file, from_hub, is_local
from amend.task.dataset.splits import SPLITS, Split
from amend.task.grading.code_grader import CodeGrader
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Natural, Positive

RANGES: dict[str, range] = {"train": range(601, 975), "val": range(511, 601), "test": range(11, 511)}
EXAMPLES = (2, 3, 4)  # task ids: similar_elements, is_not_prime, heap_queue_largest
HUB_SPLITS = ("prompt", "test", "validation", "train")
NAMES = ("mbpp.jsonl",)
DEFINED = re.compile(r"^(?:def|class)\s+(\w+)|^(\w+)\s*=[^=]", re.MULTILINE)
CALLED = re.compile(r"assert\b[\s(]*(?:not\b[\s(]*)?(\w+)\s*\(")


class MBPP(TaskBase):
    """The MBPP data set, or MBPP-R if ``first_attempts`` is set.

    Args:
        source: File, folder or hub id.
        shots: Number of examples in the prompt, at most 3.
        first_attempts: JSON Lines file with attempts to repair; None for MBPP itself.
        instruction: The user message that asks for a repair; used only with ``first_attempts``.
        sandbox: The kind of sandbox for replies, see ``amend.task.sandbox``.
        seconds: Limit of processor time for each program, in seconds.
        validation: Maximal number of validation problems.
        test: Maximal number of test problems.

    Raises:
        UserError: If a source cannot be read, a row is invalid, or the sandbox does not work.
    """

    def __init__(
        self,
        *,
        source: str,
        shots: Natural,
        first_attempts: str | None,
        instruction: str,
        sandbox: Literal["bubblewrap", "rlimit"],
        seconds: Positive,
        validation: Natural,
        test: Count,
    ) -> None:
        if shots > len(EXAMPLES):
            raise UserError(f"task.shots={shots}: allowed: 0 to {len(EXAMPLES)}")
        self._instruction = instruction
        self._grader = CodeGrader(sandbox=sandbox, seconds=seconds)
        tables = read_tables(source)
        self.provenance = {name: table.provenance for name, table in tables.items()}
        self._by_id: dict[str, Problem] = {}
        for table in tables.values():
            for where, row in table.rows:
                with at(where):
                    new = problem_from_fields(row)
                    if new.id in self._by_id:
                        raise UserError(f"field 'task_id' is {shown(row['task_id'])}, as in an earlier row")
                    self._by_id[new.id] = new
        self._examples = "".join(self._example(number) for number in EXAMPLES[:shots])
        problems = self._by_id
        if first_attempts is not None:
            problems = self._read_attempts(Path(first_attempts).expanduser())
        self._splits = {
            split: [known for known in problems.values() if known.meta["task_id"] in RANGES[split]] for split in SPLITS
        }
        self._splits["val"] = self._splits["val"][:validation]
        self._splits["test"] = self._splits["test"][:test]
        if not self._splits["train"] and not self._splits["test"]:
            raise UserError(f"task.source={source}: no row has a task_id from 11 to 974, the ids of MBPP")
        self._by_id = {**self._by_id, **problems}

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split, in the order of the file.

        Args:
            split: "train", "val" or "test".

        Returns:
            The problems. "val" may be empty.

        Raises:
            UserError: If the source has no training or test problems and this split is requested.
        """
        if not self._splits[split] and split != "val":
            raise UserError(f"task=mbpp: the source has no {split} problems (task ids {RANGES[split]})")
        return self._splits[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the prompt of the paper; for a repair, also the attempt and the request to correct it."""
        messages = [Message("user", f"{self._examples}{_format_question(problem)}[BEGIN]\n")]
        if "attempt" in problem.meta:
            messages += [Message("assistant", str(problem.meta["attempt"])), Message("user", self._instruction)]
        return messages

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies in parallel. The verdicts are in the order of the pairs."""
        return self._grader.grade_many(pairs)

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem that ``id`` or ``task_id`` names, else the problem of the row's own fields."""
        for identity in (row.get("id"), f"mbpp-{row.get('task_id')}"):
            if isinstance(identity, str) and identity in self._by_id:
                return self._by_id[identity]
        return problem_from_fields(row)

    def _example(self, number: int) -> str:
        if (example := self._by_id.get(f"mbpp-{number}")) is None:
            raise UserError(
                f"task.shots: the source has no row with task_id {number}, an example; allowed: task.shots=0"
            )
        return f"{_format_question(example)}[BEGIN]\n{example.target}\n[DONE]\n\n"

    def _read_attempts(self, file: Path) -> dict[str, Problem]:
        """Return the repair problems of a file of attempts, by id."""
        table = from_file(file)
        self.provenance = {**self.provenance, "first_attempts": table.provenance}
        repairs: dict[str, Problem] = {}
        for number, (where, row) in enumerate(table.rows, 1):
            with at(where):
                base = self._by_id.get(f"mbpp-{row.get('task_id')}") or self._by_id.get(str(row.get("id")))
                if base is None:
                    raise UserError(f"field 'task_id' is {shown(row.get('task_id'))}, which the source does not have")
                if row.get("correct") is True:
                    continue
                meta = {**base.meta, "attempt": text(row, "reply")}
                repairs[f"{base.id}-r{number}"] = Problem(f"{base.id}-r{number}", base.question, base.target, meta)
        if not repairs:
            raise UserError(
                f"task.first_attempts={file}: no incorrect attempt is in it; allowed: a file with at least one"
            )
        return repairs


def read_tables(source: str) -> dict[str, Table]:
    """Read the rows of MBPP.

    Args:
        source: A JSON Lines file, a folder with mbpp.jsonl, or a hub id.

    Returns:
        The tables by split of the hub; a file is one table with the name "all".

    Raises:
        UserError: If the source cannot be read.
    """
    if is_local(source, keywords=(), layout=NAMES[0]):
        path = Path(source).expanduser()
        return {"all": from_file(path if path.is_file() else first_file(path, NAMES, "MBPP"))}
    return {split: from_hub(source, split, None, layout=NAMES[0]) for split in HUB_SPLITS}


def problem_from_fields(row: Row) -> Problem:
    """Return the problem of a row.

    Args:
        row: A row of MBPP.

    Returns:
        The problem. ``meta`` has the fields that ``CodeGrader`` needs.

    Raises:
        UserError: If a field is missing or invalid. The message names the field.
    """
    tests, imports = string_list(row, "test_list"), string_list(row, "test_imports") if "test_imports" in row else []
    number = row.get("task_id")
    if not isinstance(number, int):
        raise UserError(f"field 'task_id' is {shown(number)}, not a number" if number else "field 'task_id' is missing")
    setup = text(row, "test_setup_code") if "test_setup_code" in row else ""
    code = text(row, "code").replace("\r\n", "\n") if "code" in row else ""
    called = CALLED.search(tests[0])
    defined = [function or variable for function, variable in DEFINED.findall(code)]
    entry = next((name for name in defined if re.search(rf"\b{name}\b", tests[0])), called[1] if called else "")
    meta = {
        "task_id": number,
        "level": 1,
        "subject": "MBPP",
        "solution": f"{code}\n[DONE]",
        "entry": entry,
        "shown": "\n".join(tests),
        "test": "\n".join([*imports, setup, *tests]).replace("\r\n", "\n"),
        "prelude": "",
        "names": {name: name for name in {*defined, entry} if name},
    }
    return Problem(f"mbpp-{number}", text(row, "text", "prompt").strip(), code, meta)


def string_list(row: Row, name: str) -> list[str]:
    """Return a field that is a list of strings.

    Args:
        row: A row of MBPP.
        name: Name of the field.

    Returns:
        The strings. Only a field whose name contains "imp", such as ``test_imports``, may be empty.

    Raises:
        UserError: If the field is missing or is not such a list.
    """
    if name not in row:
        raise UserError(f"field '{name}' is missing")
    value = row[name]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or not (value or "imp" in name):
        raise UserError(f"field '{name}' is {shown(value)}, not a list of texts")
    return value


def _format_question(problem: Problem) -> str:
    return (
        f"You are an expert Python programmer, and here is your task: {problem.question} "
        f"Your code should pass these tests:\n\n{problem.meta['shown']}\n"
    )
