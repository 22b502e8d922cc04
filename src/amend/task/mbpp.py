"""MBPP (Austin et al. 2021, arXiv 2108.07732): short Python programs from a sentence and three asserts.

SCoRe trains on it (arXiv 2409.12917). Posed with the paper's prompt, after MBPP's own examples: task ids 2, 3 and 4,
read from the data set. Splits are the published ones by task id: 601-974 train, 511-600 validation, 11-510 test.

With ``first_attempts`` it is MBPP-R (Ni et al. 2024): the repair of somebody else's incorrect first attempts, which a
JSON Lines file has: a ``reply`` a line, and the ``task_id`` it answers. The attempt and the request to correct it are
then part of the question (dialogue=single), and only problems that the file has an attempt at are posed. Attempts that
pass are left out where the file says so, as the verdicts of job=grade do (``"correct": true``); none is run for it.

A source is a file, a folder with mbpp.jsonl, or a hub id. Rows have ``task_id``, ``text`` (or ``prompt``),
``test_list``, and may have ``code``, ``test_setup_code`` and ``test_imports``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from amend.errors import UserError
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


class MBPP:
    """``shots``: how many of the three examples are shown. ``validation`` and ``test``: at most how many problems.

    ``sandbox`` and ``seconds``: what replies are run in, and the processor time each may use (``sandbox``).
    ``instruction`` asks for the repair where there are ``first_attempts``.
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
        self._judge = CodeGrader(sandbox=sandbox, seconds=seconds)
        tables = read(source)
        self.provenance = {name: table.provenance for name, table in tables.items()}
        self._by_id: dict[str, Problem] = {}
        for table in tables.values():
            for where, row in table.rows:
                with at(where):
                    made = problem(row)
                    if made.id in self._by_id:
                        raise UserError(f"field 'task_id' is {shown(row['task_id'])}, as in a row before")
                    self._by_id[made.id] = made
        self._examples = "".join(self._example(number) for number in EXAMPLES[:shots])
        posed = self._by_id
        if first_attempts is not None:
            posed = self._repairs(Path(first_attempts).expanduser())
        self._splits = {
            split: [one for one in posed.values() if one.meta["task_id"] in RANGES[split]] for split in SPLITS
        }
        self._splits["val"] = self._splits["val"][:validation]
        self._splits["test"] = self._splits["test"][:test]
        if not self._splits["train"] and not self._splits["test"]:
            raise UserError(f"task.source={source}: no row has a task_id from 11 to 974, MBPP's own")
        self._by_id = {**self._by_id, **posed}

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, in the order of the file. UserError for a split that the file has none of."""
        if not self._splits[split] and split != "val":
            raise UserError(f"task=mbpp: the source has no {split} problems (task ids {RANGES[split]})")
        return self._splits[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """The prompt of the paper; for a repair, the attempt and the request to correct it as well."""
        asked = [Message("user", f"{self._examples}{_posed(problem)}[BEGIN]\n")]
        if "attempt" in problem.meta:
            asked += [Message("assistant", str(problem.meta["attempt"])), Message("user", self._instruction)]
        return asked

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Does the program of the reply pass? Total: any string gets a verdict."""
        return self.grade_many([(problem, reply)])[0]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair, several side by side."""
        return self._judge.grade_many(pairs)

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem of a line: by ``id`` (``mbpp-11``) or ``task_id`` where known, else by the row's own fields."""
        for named in (row.get("id"), f"mbpp-{row.get('task_id')}"):
            if isinstance(named, str) and named in self._by_id:
                return self._by_id[named]
        return problem(row)

    def _example(self, number: int) -> str:
        if (shown := self._by_id.get(f"mbpp-{number}")) is None:
            raise UserError(f"task.shots: the source has no row with task_id {number} to show; allowed: task.shots=0")
        return f"{_posed(shown)}[BEGIN]\n{shown.target}\n[DONE]\n\n"

    def _repairs(self, file: Path) -> dict[str, Problem]:
        table = from_file(file)
        self.provenance["first_attempts"] = table.provenance
        found: dict[str, Problem] = {}
        for number, (where, row) in enumerate(table.rows, 1):
            with at(where):
                asked = self._by_id.get(f"mbpp-{row.get('task_id')}") or self._by_id.get(str(row.get("id")))
                if asked is None:
                    raise UserError(f"field 'task_id' is {shown(row.get('task_id'))}, which the source does not have")
                if row.get("correct") is True:
                    continue
                meta = {**asked.meta, "attempt": text(row, "reply")}
                found[f"{asked.id}-r{number}"] = Problem(f"{asked.id}-r{number}", asked.question, asked.target, meta)
        if not found:
            raise UserError(f"task.first_attempts={file}: no incorrect attempt is in it; allowed: a file with some")
        return found


def read(source: str) -> dict[str, Table]:
    """The rows of a file, of a folder's mbpp.jsonl, or of the hub's splits."""
    if is_local(source, beside=(), layout=NAMES[0]):
        path = Path(source).expanduser()
        return {"all": from_file(path if path.is_file() else first_file(path, NAMES, "MBPP"))}
    return {split: from_hub(source, split, None, layout=NAMES[0]) for split in HUB_SPLITS}


def problem(row: Row) -> Problem:
    """What a row asks. UserError naming the field that is missing or wrong."""
    tests, imports = texts(row, "test_list"), texts(row, "test_imports") if "test_imports" in row else []
    number = row.get("task_id")
    if not isinstance(number, int):
        raise UserError(f"field 'task_id' is {shown(number)}, not a number" if number else "field 'task_id' is missing")
    setup = text(row, "test_setup_code") if "test_setup_code" in row else ""
    code = text(row, "code").replace("\r\n", "\n") if "code" in row else ""
    called = CALLED.search(tests[0])
    defined = [one or other for one, other in DEFINED.findall(code)]
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


def texts(row: Row, name: str) -> list[str]:
    """A field that is a list of texts, with at least one unless it is about imports."""
    if name not in row:
        raise UserError(f"field '{name}' is missing")
    value = row[name]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or not (value or "imp" in name):
        raise UserError(f"field '{name}' is {shown(value)}, not a list of texts")
    return value


def _posed(problem: Problem) -> str:
    return (
        f"You are an expert Python programmer, and here is your task: {problem.question} "
        f"Your code should pass these tests:\n\n{problem.meta['shown']}\n"
    )
