"""Any data set of questions and answers, from a JSON Lines file, a folder or the hub. Keys map its fields.

    python run.py task=custom task.source=mine.jsonl task.question=prompt task.answer=target task.kind=text

``kind`` selects the grader:

    math      the grader of MATH (``amend.task.grading.math_grader``): string comparison, then sympy
    number    the same grader; if the gold answer has ``####``, only the text after the last ``####`` is used
    text      string comparison that ignores case, spacing and the final full stop
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, shown
from amend.task.grading.math_grader import MathGrader
from amend.task.grading.text_answers import extract_text_answer, grade_text
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.types import Message, Problem, Verdict

SECONDS = 3.0  # time limit of one comparison; bounds the delay that one adversarial answer causes


class Custom(Tabular):
    """Questions and answers with configurable field names.

    Args:
        configuration: Configuration of the hub data set; None if it has none.
        train_split: Hub split, or file of a folder without ``.jsonl``, with the training problems.
        test_split: The same for the test problems. If it equals ``train_split``, that table is divided.
        question: Name of the field with the question.
        answer: Name of the field with the gold answer.
        solution: Name of the field with a worked solution; None if there is none.
        level: Name of the field with the level, an integer or "Level 3"; None if there is none.
        subject: Name of the field with the subject; None if there is none.
        prompt: The user message, which contains ``{question}`` once.
        kind: The grader, see the module docstring.
        **table: Source and sizes, see ``TableConfig``.

    Raises:
        UserError: If the prompt is invalid or a row lacks a field.
    """

    prefix = "custom"

    def __init__(
        self,
        *,
        configuration: str | None,
        train_split: str,
        test_split: str,
        question: str,
        answer: str,
        solution: str | None,
        level: str | None,
        subject: str | None,
        prompt: str,
        kind: Literal["math", "number", "text"],
        **table: Unpack[TableConfig],
    ) -> None:
        if prompt.count("{question}") != 1:
            raise UserError(f"task.prompt={prompt[:60]!r}: allowed: a text that contains {{question}} once")
        self._fields = {"question": question, "answer": answer}
        self._optional_fields = {"solution": solution, "level": level, "subject": subject}
        self._prompt, self._kind = prompt, kind
        self._grader = MathGrader(seconds=SECONDS)
        super().__init__(Layout.of(configuration, train_split, test_split), **table)

    def problem(self, identity: str, row: Row) -> Problem:
        """Return the problem of a row. Numbers and booleans are converted to text as in JSON."""
        question = _field_text(row, self._fields["question"], "task.question")
        gold = _field_text(row, "gold" if "gold" in row else self._fields["answer"], "task.answer").strip()
        if self._kind == "number":
            gold = gold.rpartition("####")[2].strip().replace(",", "")
        if not gold:
            raise UserError(f"field {self._fields['answer']!r} (task.answer) is empty; allowed: an answer")
        optional = {
            name: _field_text(row, field, f"task.{name}")
            for name, field in self._optional_fields.items()
            if field is not None
        }
        level = optional.get("level", "0").strip().removeprefix("Level ")
        if not (level.isascii() and level.isdigit() and len(level) < 10):
            raise UserError(
                f"field {self._optional_fields['level']!r} (task.level) is {level[:60]!r}; allowed: a whole number"
            )
        meta = {"level": int(level), "subject": optional.get("subject", ""), "solution": optional.get("solution", "")}
        return Problem(id=identity, question=question, target=gold, meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the prompt with the question inserted."""
        return [Message("user", self._prompt.replace("{question}", problem.question))]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order, with the grader that ``kind`` selects."""
        if self._kind != "text":
            return self._grader.grade_many([(problem.target, reply) for problem, reply in pairs])
        return [grade_text(problem.target, extract_text_answer(reply)) for problem, reply in pairs]

    def close(self) -> None:
        """End the worker processes of the grader."""
        self._grader.close()


def _field_text(row: Row, field: str, key: str) -> str:
    """Return the value of a field as text; ``key`` is the configuration key for error messages."""
    if field not in row:
        raise UserError(f"field {field!r} ({key}) is missing; this row has {', '.join(map(str, row))[:120] or 'none'}")
    value = row[field]
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise UserError(f"field {field!r} ({key}) is {shown(value)}; allowed: text or a number")
    return str(value)
