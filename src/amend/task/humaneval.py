"""HumanEval (Chen et al. 2021, arXiv 2107.03374): complete 164 Python functions, given their head and docstring.

    python run.py task=humaneval policy=hf policy.path=owner/model algo.max_tokens=512

SCoRe trains on MBPP and reports HumanEval. Accordingly, the 164 problems are the test split, with a zero-shot prompt.
Training and validation problems come from MBPP.

The tests of the data set are used unchanged. The test sandbox runs ``check(candidate)``, where ``candidate`` calls the
solution in a second sandbox. The reference solution is also loaded in the test sandbox, because some tests call the
helpers of the prompt and one test calls the reference.

A reply may be a complete program or, as base models write it, the body of the function. It is run with the imports and
helpers of the prompt. The docstring is left out, because its examples contain expected values.

A source is a file, a folder with HumanEval.jsonl or HumanEval.jsonl.gz, or a hub id. Rows have the fields ``task_id``,
``prompt``, ``test``, ``entry_point`` and optionally ``canonical_solution``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from amend.errors import UserError
from amend.task.base import TaskBase
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


class HumanEval(TaskBase):
    """HumanEval as test split, MBPP as training and validation splits.

    Args:
        source: File, folder or hub id of HumanEval.
        train: File, folder or hub id of MBPP; None if the run does not train.
        shots: Number of MBPP examples before a training or validation problem.
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
        train: str | None,
        shots: Natural,
        sandbox: Literal["bubblewrap", "rlimit"],
        seconds: Positive,
        validation: Natural,
        test: Count,
    ) -> None:
        self._grader = CodeGrader(sandbox=sandbox, seconds=seconds)
        if is_local(source, keywords=(), layout=NAMES[0]):
            path = Path(source).expanduser()
            table = from_file(path if path.is_file() else first_file(path, NAMES, "HumanEval"))
        else:
            table = from_hub(source, "test", None, layout=NAMES[0])
        self.provenance = {"test": table.provenance}
        problems = []
        for where, row in table.rows:
            with at(where):
                problems.append(problem_from_fields(row))
        if not problems:
            raise UserError(f"task.source={source}: it has no rows")
        self._test = problems[:test]
        self._by_id = {known.id: known for known in problems}
        self._mbpp: MBPP | None = None
        if train is not None:
            common = {"sandbox": sandbox, "seconds": seconds, "validation": validation, "test": 1}
            self._mbpp = MBPP(source=train, shots=shots, first_attempts=None, instruction="", **common)  # type: ignore[arg-type]
            self.provenance |= {f"mbpp {name}": record for name, record in self._mbpp.provenance.items()}

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split: HumanEval for "test", MBPP for "train" and "val".

        Args:
            split: "train", "val" or "test".

        Returns:
            The problems.

        Raises:
            UserError: If the split needs MBPP and ``train`` is None.
        """
        if split == "test":
            return self._test
        if self._mbpp is None:
            raise UserError("task.train=null: no training problems; allowed: a folder with MBPP, or a hub id")
        return self._mbpp.problems(split)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return a zero-shot prompt; for a problem of MBPP, the prompt of MBPP."""
        if self._mbpp is not None and problem.meta["subject"] == "MBPP":
            return self._mbpp.render_prompt(problem)
        return [Message("user", PROMPT.format(prompt=problem.question.strip()))]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies in parallel. The verdicts are in the order of the pairs."""
        return self._grader.grade_many(pairs)

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem that ``id`` or ``task_id`` names, else the problem of the row's own fields."""
        for identity in (row.get("id"), row.get("task_id")):
            if isinstance(identity, str) and identity in self._by_id:
                return self._by_id[identity]
        if "entry_point" not in row and self._mbpp is not None:
            return self._mbpp.problem_from_row(row)
        return problem_from_fields(row)


def problem_from_fields(row: Row) -> Problem:
    """Return the problem of a row.

    Args:
        row: A row of HumanEval.

    Returns:
        The problem. ``meta`` has the fields that ``CodeGrader`` needs.

    Raises:
        UserError: If a field is missing or invalid. The message names the field.
    """
    prompt, entry, test = text(row, "prompt"), text(row, "entry_point"), text(row, "test")
    solution = text(row, "canonical_solution") if "canonical_solution" in row else ""
    helpers, head = split_prompt(prompt, entry)
    meta = {
        "level": 1,
        "subject": "HumanEval",
        "solution": f"```python\n{prompt}{solution}\n```",
        "entry": entry,
        "given": helpers,
        "head": head,
        "test": f"{test}\n\ncheck(candidate)\n",
        "prelude": prompt + solution,
        "names": {"candidate": entry},
    }
    return Problem(text(row, "task_id"), prompt, solution, meta)


def split_prompt(prompt: str, entry: str) -> tuple[str, str]:
    """Split a prompt into its imports and helpers, and the head of the requested function.

    Args:
        prompt: Python source that ends in the head and docstring of the function.
        entry: The name of the function.

    Returns:
        The source of the imports and helpers, and the source of the head without its docstring.

    Raises:
        UserError: If the prompt is not valid Python or does not define the function.
    """
    try:
        tree = ast.parse(prompt)
    except SyntaxError as error:
        raise UserError(f"field 'prompt' is not Python ({error.msg})") from error
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry]
    if not functions:
        raise UserError(f"field 'entry_point' is {shown(entry)}, which field 'prompt' does not define")
    function = functions[-1]
    code = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    function.body = [*code, ast.Pass()]
    tree.body.remove(function)
    return ast.unparse(tree), ast.unparse(function).removesuffix("\n    pass")
