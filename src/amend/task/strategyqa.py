"""Yes-or-no questions, as in StrategyQA (Geva et al. 2021, arXiv 2101.02235), from a file or the hub.

    python run.py task=strategyqa task.source=ChilleD/StrategyQA policy=hf policy.path=owner/model algo.max_tokens=512

The field of the answer is true or false, yes or no, or 1 or 0. ``extract_text_answer`` extracts the answer of a reply.
An answer that begins with yes or no (or true or false) and does not contain the opposite is graded. All other answers
are "unparsed".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, shown, text
from amend.task.grading.text_answers import extract_text_answer, normalize_text
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.types import Message, Problem, Verdict

PROMPT = "Answer the question below, thinking step by step. Finish with \\boxed{yes} or \\boxed{no}.\n\n"
MEANS = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}


class StrategyQA(Tabular):
    """Yes-or-no questions with configurable field names.

    Args:
        configuration: Configuration of the hub data set; None if it has none.
        train_split: Hub split, or file of a folder without ``.jsonl``, with the training problems.
        test_split: The same for the test problems. If it equals ``train_split``, that table is divided.
        question: Name of the field with the question.
        answer: Name of the field with the right answer.
        facts: Name of the field with a text or a list of texts that becomes the worked solution; None if there is none.
        **table: Source and sizes, see ``TableConfig``.

    Raises:
        UserError: If the source cannot be read or a row is invalid.
    """

    prefix = "strategyqa"

    def __init__(
        self,
        *,
        configuration: str | None,
        train_split: str,
        test_split: str,
        question: str,
        answer: str,
        facts: str | None,
        **table: Unpack[TableConfig],
    ) -> None:
        self._question, self._answer, self._facts = question, answer, facts
        super().__init__(Layout.of(configuration, train_split, test_split), **table)

    def problem(self, identity: str, row: Row) -> Problem:
        """Return the problem of a row. The solution is the facts, followed by the boxed answer."""
        key = "gold" if "gold" in row else self._answer
        if key not in row:
            raise UserError(f"field {key!r} is missing")
        gold = MEANS.get(str(row[key]).strip().casefold())
        if gold is None:
            raise UserError(f"field {key!r} is {shown(row[key])}; allowed: true or false, yes or no, 1 or 0")
        value = row.get(self._facts) if self._facts else None
        facts = " ".join(map(str, value)) if isinstance(value, list) else str(value or "")
        solution = f"{facts} \\boxed{{{gold}}}".strip() if facts else ""
        meta = {"level": 0, "subject": "", "solution": solution}
        return Problem(id=identity, question=text(row, self._question), target=gold, meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return a zero-shot prompt: instruction and question."""
        return [Message("user", PROMPT + problem.question)]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order."""
        return [_grade(problem, reply) for problem, reply in pairs]


def _grade(problem: Problem, reply: str) -> Verdict:
    extracted = extract_text_answer(reply)
    if extracted is None:
        return Verdict(None, False, "no answer")
    # "yes, because ..." is an answer; "yes and no" is not
    words = normalize_text(extracted).replace(",", " ").replace(".", " ").split()
    answers = {MEANS[word] for word in words if word in ("yes", "no", "true", "false")}
    if len(answers) != 1 or words[0] not in MEANS:
        return Verdict(extracted, False, "unparsed")
    (answer,) = answers
    return Verdict(answer, answer == problem.target, "right" if answer == problem.target else "wrong")
