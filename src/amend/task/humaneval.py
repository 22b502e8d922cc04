"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 Python functions from their head and docstring, for evaluation.

SCoRe trains on MBPP and reports HumanEval; so here the 164 problems are the test split, zero-shot, and training and
validation problems are MBPP's, from ``train``. The tests are the data set's own, as they are: ``check(candidate)``
is run in the examiner's sandbox with the reference solution beside it (some tests call the question's helpers, and one
calls the reference), and ``candidate`` asks the solution.

A reply may be a whole program or the rest of the function, as base models complete it. It is run with the question's
imports and helpers, and without the docstring, whose examples are answers.

A source is a file, a folder with HumanEval.jsonl(.gz), or a hub id. Rows have ``task_id``, ``prompt``, ``test``,
``entry_point`` and ``canonical_solution``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, at, shown, text
from amend.task.dataset.sources import first_file, from_file, from_hub, is_local
from amend.task.dataset.splits import Split
from amend.task.grading.code_grader import CodeGrader
from amend.task.mbpp import MBPP
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Natural, Positive

NAMES = ("HumanEval.jsonl", "HumanEval.jsonl.gz", "humaneval.jsonl", "test.jsonl")
PROMPT = (
    "Complete the Python function below. Write the whole program, with the function and what it needs, in one "
    "```python block and nothing after it.\n\n```python\n{prompt}\n```"
)


class HumanEval:
    """``train``: where MBPP's rows are, for training; null: this run does not train. ``shots`` is about these.

    ``sandbox`` and ``seconds``: what replies are run in, and the processor time each may use (``sandbox``).
    """

    def __init__(
        self,
        *,
        source: str,
        train: str | None,
        shots: Natural,
        sandbox: Literal["bubblewrap", "rlimit"],
        seconds: Positive,
        validation: Natural,
        test: Count,
    ) -> None:
        self._judge = CodeGrader(sandbox=sandbox, seconds=seconds)
        if is_local(source, beside=(), layout=NAMES[0]):
            path = Path(source).expanduser()
            table = from_file(path if path.is_file() else first_file(path, NAMES, "HumanEval"))
        else:
            table = from_hub(source, "test", None, layout=NAMES[0])
        self.provenance = {"test": table.provenance}
        found = []
        for where, row in table.rows:
            with at(where):
                found.append(problem(row))
        if not found:
            raise UserError(f"task.source={source}: it has no rows")
        self._test = found[:test]
        self._by_id = {one.id: one for one in found}
        self._mbpp: MBPP | None = None
        if train is not None:
            knobs = {"sandbox": sandbox, "seconds": seconds, "validation": validation, "test": 1}
            self._mbpp = MBPP(source=train, shots=shots, first_attempts=None, instruction="", **knobs)  # type: ignore[arg-type]
            self.provenance |= {f"mbpp {name}": kept for name, kept in self._mbpp.provenance.items()}

    def problems(self, split: Split) -> Sequence[Problem]:
        """HumanEval's as "test", MBPP's as "train" and "val". UserError where there are none to train on."""
        if split == "test":
            return self._test
        if self._mbpp is None:
            raise UserError("task.train=null: nothing to train on; allowed: where MBPP is, a folder or a hub id")
        return self._mbpp.problems(split)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Zero-shot; a problem of MBPP's as ``mbpp`` asks it."""
        if self._mbpp is not None and problem.meta["subject"] == "MBPP":
            return self._mbpp.render_prompt(problem)
        return [Message("user", PROMPT.format(prompt=problem.question.strip()))]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Does the program of the reply pass? Total: any string gets a verdict."""
        return self.grade_many([(problem, reply)])[0]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair, several side by side."""
        return self._judge.grade_many(pairs)

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem of a line: by ``id`` or ``task_id`` (``HumanEval/0``) where known, else by its own fields."""
        for named in (row.get("id"), row.get("task_id")):
            if isinstance(named, str) and named in self._by_id:
                return self._by_id[named]
        if "entry_point" not in row and self._mbpp is not None:
            return self._mbpp.problem_from_row(row)
        return problem(row)


def problem(row: Row) -> Problem:
    """What a row asks. UserError naming the field that is missing or wrong."""
    prompt, entry, test = text(row, "prompt"), text(row, "entry_point"), text(row, "test")
    solution = text(row, "canonical_solution") if "canonical_solution" in row else ""
    given, head = parts(prompt, entry)
    meta = {
        "level": 1,
        "subject": "HumanEval",
        "solution": f"```python\n{prompt}{solution}\n```",
        "entry": entry,
        "given": given,
        "head": head,
        "test": f"{test}\n\ncheck(candidate)\n",
        "prelude": prompt + solution,
        "names": {"candidate": entry},
    }
    return Problem(text(row, "task_id"), prompt, solution, meta)


def parts(prompt: str, entry: str) -> tuple[str, str]:
    """What a question gives: imports and helpers; and the head of the function asked for, without its docstring."""
    try:
        tree = ast.parse(prompt)
    except SyntaxError as error:
        raise UserError(f"field 'prompt' is not Python ({error.msg})") from error
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry]
    if not functions:
        raise UserError(f"field 'entry_point' is {shown(entry)}, which field 'prompt' does not define")
    asked = functions[-1]
    said = [node for node in asked.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    asked.body = [*said, ast.Pass()]
    tree.body.remove(asked)
    return ast.unparse(tree), ast.unparse(asked).removesuffix("\n    pass")
