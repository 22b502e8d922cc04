"""Any set of questions and answers, from a JSON Lines file, a folder or the hub, by saying which field is which.

    python run.py task=custom task.source=mine.jsonl task.question=prompt task.answer=target task.kind=text

``kind`` says what an answer is. "math": compared as MATH's are (plainly, then by sympy; ``amend.task.grade``).
"number": the same, and the gold answer is the number after the last ``####`` where it has one. "text": what the reply
gives as its answer, letter case, spacing and the final full stop aside, is the gold answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, shown
from amend.task.grading.math_grader import Grader
from amend.task.grading.text_answers import said, same_text
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.types import Message, Problem, Verdict

SECONDS = 3.0  # the most that one hostile answer may delay a batch by


class Custom(Tabular):
    """``question``, ``answer``, ``solution``, ``level`` and ``subject`` name the fields (null: there is none);
    ``prompt`` is what is asked, with {question} in it; the splits as in ``Choice``."""

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
            raise UserError(f"task.prompt={prompt[:60]!r}: allowed: a text with {{question}} in it, once")
        self._fields = {"question": question, "answer": answer}
        self._more = {"solution": solution, "level": level, "subject": subject}
        self._prompt, self._kind = prompt, kind
        self._grader = Grader(seconds=SECONDS)
        super().__init__(Layout.of(configuration, train_split, test_split), **table)

    def problem(self, identity: str, row: Row) -> Problem:
        """What the mapped fields hold; numbers and truth values as JSON writes them."""
        question = _words(row, self._fields["question"], "task.question")
        gold = _words(row, "gold" if "gold" in row else self._fields["answer"], "task.answer").strip()
        if self._kind == "number":
            gold = gold.rpartition("####")[2].strip().replace(",", "")
        if not gold:
            raise UserError(f"field {self._fields['answer']!r} (task.answer) is empty; allowed: an answer")
        more = {name: _words(row, field, f"task.{name}") for name, field in self._more.items() if field is not None}
        level = more.get("level", "0").strip().removeprefix("Level ")
        if not (level.isascii() and level.isdigit() and len(level) < 10):
            raise UserError(f"field {self._more['level']!r} (task.level) is {level[:60]!r}; allowed: a whole number")
        meta = {"level": int(level), "subject": more.get("subject", ""), "solution": more.get("solution", "")}
        return Problem(id=identity, question=question, answer=gold, meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """The prompt with the question in its place."""
        return [Message("user", self._prompt.replace("{question}", problem.question))]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Is the answer of each reply right?"""
        if self._kind != "text":
            return self._grader.grade_many([(problem.answer, reply) for problem, reply in pairs])
        return [same_text(problem.answer, said(reply)) for problem, reply in pairs]

    def close(self) -> None:
        """End the grader's worker processes."""
        self._grader.close()


def _words(row: Row, field: str, knob: str) -> str:
    """A field as text."""
    if field not in row:
        raise UserError(f"field {field!r} ({knob}) is missing; this row has {', '.join(map(str, row))[:120] or 'none'}")
    value = row[field]
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise UserError(f"field {field!r} ({knob}) is {shown(value)}; allowed: text or a number")
    return str(value)
