"""Yes or no, as StrategyQA asks (Geva et al. 2021, arXiv 2101.02235), from a file or the hub.

The field of the answer holds true or false, yes or no, or 1 or 0. A reply says yes or no in a box, after "answer is",
or by being nothing else; one that says neither has no answer, and one that says something else is not understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, shown, text
from amend.task.grading.text_answers import bare, said
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.types import Message, Problem, Verdict

PROMPT = "Answer the question below, thinking step by step. Finish with \\boxed{yes} or \\boxed{no}.\n\n"
MEANS = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}


class StrategyQA(Tabular):
    """``question`` and ``answer`` name the fields, ``facts`` the one with what there is to know (a text or a list of
    texts, which becomes the worked solution; null for none); the splits as in ``Choice``."""

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
        """The question, yes or no, and the facts that lead there."""
        key = "gold" if "gold" in row else self._answer
        if key not in row:
            raise UserError(f"field {key!r} is missing")
        gold = MEANS.get(str(row[key]).strip().casefold())
        if gold is None:
            raise UserError(f"field {key!r} is {shown(row[key])}; allowed: true or false, yes or no, 1 or 0")
        known = row.get(self._facts) if self._facts else None
        told = " ".join(map(str, known)) if isinstance(known, list) else str(known or "")
        solution = f"{told} \\boxed{{{gold}}}".strip() if told else ""
        meta = {"level": 0, "subject": "", "solution": solution}
        return Problem(id=identity, question=text(row, self._question), target=gold, meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Zero-shot: the instruction and the question."""
        return [Message("user", PROMPT + problem.question)]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Does each reply say what is right?"""
        return [_checked(problem, reply) for problem, reply in pairs]


def _checked(problem: Problem, reply: str) -> Verdict:
    found = said(reply)
    if found is None:
        return Verdict(None, False, "no answer")
    # "yes, because ..." says yes; "yes and no" says neither
    words = bare(found).replace(",", " ").replace(".", " ").split()
    spoken = {MEANS[word] for word in words if word in ("yes", "no", "true", "false")}
    if len(spoken) != 1 or words[0] not in MEANS:
        return Verdict(found, False, "unparsed")
    (answer,) = spoken
    return Verdict(answer, answer == problem.target, "right" if answer == problem.target else "wrong")
