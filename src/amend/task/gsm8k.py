"""GSM8K (Cobbe et al. 2021, arXiv 2110.14168): grade-school word problems whose worked solutions end in ``#### 72``.

    python run.py task=gsm8k task.source=openai/gsm8k policy=hf policy.path=owner/model algo.max_tokens=512

A row has the fields ``question`` and ``answer``. ``answer`` is the worked solution, and the number after ``####`` is
the gold answer. The steps of a solution contain calculator annotations such as ``48/2 = <<48/2=24>>24``. If
``calculator`` is true, the annotations are kept and the policy can call the calculator. Otherwise they are removed. The
level of a problem is the number of annotations, that is, the number of steps.

A folder contains gsm8k_train.jsonl and gsm8k_test.jsonl, or train.jsonl and test.jsonl. The hub id is openai/gsm8k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, text
from amend.task.grading.math_grader import MathGrader
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.task.tools import MARK, Calculator, strip_annotations
from amend.types import Message, Problem, Verdict

SECONDS = 3.0  # time limit of one comparison; bounds the delay that one adversarial answer causes
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
    """The GSM8K data set.

    Args:
        calculator: Whether the policy can call a calculator.
        **table: Source and sizes, see ``TableConfig``.

    Raises:
        UserError: If the source cannot be read or a row lacks a field.
    """

    prefix = "gsm8k"

    def __init__(self, *, calculator: bool, **table: Unpack[TableConfig]) -> None:
        self.tool = Calculator() if calculator else None
        self._grader = MathGrader(seconds=SECONDS)
        super().__init__(Layout("main", ("train", "test"), FILES), **table)

    def problem(self, identity: str, row: Row) -> Problem:
        """Return the problem of a row; its gold answer is the number after the last ``####``."""
        question, worked = text(row, "question"), text(row, "answer") if "answer" in row else ""
        _, mark, last = worked.rpartition("####")
        gold = text(row, "gold") if "gold" in row else last
        if not (mark or "gold" in row):
            error = "is missing" if "answer" not in row else "has no '#### answer' at its end"
            raise UserError(f"field 'answer' {error}")
        solution = worked if self.tool else strip_annotations(worked)
        meta = {"level": len(MARK.findall(worked)), "subject": "", "solution": solution}
        return Problem(id=identity, question=question, target=gold.strip().replace(",", ""), meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return a zero-shot prompt: instruction, description of the calculator if there is one, and question."""
        return [Message("user", f"{PROMPT}{TOOL if self.tool else ''}{problem.question}")]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order, after removal of calculator annotations."""
        return self._grader.grade_many([(problem.target, strip_annotations(reply)) for problem, reply in pairs])

    def close(self) -> None:
        """End the worker processes of the grader."""
        self._grader.close()
