"""GSM8K (Cobbe et al. 2021, arXiv 2110.14168): grade-school word problems whose worked solutions end in ``#### 72``.

A row has ``question`` and ``answer``, the worked solution; the number after ``####`` is what is right, and the rest
the solution to imitate. Its steps carry calculator marks, ``48/2 = <<48/2=24>>24``. With ``calculator`` they stay, and
the policy is model and calculator together; without, they are stripped. ``level`` is the number of marks: the steps.

A folder has gsm8k_train.jsonl and gsm8k_test.jsonl (or train.jsonl and test.jsonl); the hub's id is openai/gsm8k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, text
from amend.task.grading.math_grader import Grader
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.task.tools import MARK, Calculator, without_marks
from amend.types import Message, Problem, Verdict

SECONDS = 3.0  # the most that one hostile answer may delay a batch by
FILES = (("gsm8k_train.jsonl", "train.jsonl"), ("gsm8k_test.jsonl", "test.jsonl"))
PROMPT = (
    "Solve the problem below step by step. End with a line of its own that has #### and then the answer, "
    "a number and nothing else.\n\n"
)
TOOL = (
    "You have a calculator. Write << and an expression and =, such as <<48/2= and it will write the result and >> "
    "for you.\n\n"
)


class GSM8K(Tabular):
    """``calculator``: whether the policy has one. The rest is said of every table (``Tabular``)."""

    prefix = "gsm8k"

    def __init__(self, *, calculator: bool, **table: Unpack[TableConfig]) -> None:
        self.tool = Calculator() if calculator else None
        self._grader = Grader(seconds=SECONDS)
        super().__init__(Layout("main", ("train", "test"), FILES), **table)

    def problem(self, identity: str, row: Row) -> Problem:
        """The question, the number after ``####``, and the worked solution."""
        question, worked = text(row, "question"), text(row, "answer") if "answer" in row else ""
        _, mark, last = worked.rpartition("####")
        gold = text(row, "gold") if "gold" in row else last
        if not (mark or "gold" in row):
            problem = "is missing" if "answer" not in row else "has no '#### answer' at its end"
            raise UserError(f"field 'answer' {problem}")
        solution = worked if self.tool else without_marks(worked)
        meta = {"level": len(MARK.findall(worked)), "subject": "", "solution": solution}
        return Problem(id=identity, question=question, answer=gold.strip().replace(",", ""), meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Zero-shot: the instruction, the word about the calculator where there is one, and the question."""
        return [Message("user", f"{PROMPT}{TOOL if self.tool else ''}{problem.question}")]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Is the answer right: what is boxed last or, failing that, what follows the last ``####``."""
        return self._grader.grade_many([(problem.answer, without_marks(reply)) for problem, reply in pairs])

    def close(self) -> None:
        """End the grader's worker processes."""
        self._grader.close()
