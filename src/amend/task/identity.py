"""The toy task: repeat the symbol you are shown. Whatever cannot be learnt here cannot be learnt at all.

It poses "Say 3" and wants "3". A policy of a few thousand parameters solves it within seconds of any sound algorithm,
so every algorithm of the package must, and a wrong sign, mask or credit shows at once. There are only as many
different questions as symbols, so its splits share them: this task measures learning, not generalisation.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from functools import partial

from amend.errors import UserError
from amend.task.dataset.lazy import LazyProblems
from amend.task.dataset.splits import SPLITS, Split
from amend.task.grading.extract_answer import LONGEST_ANSWER, boxed
from amend.types import Message, Problem, Verdict
from amend.value_types import Count

ALPHABET = string.digits + string.ascii_lowercase
TRAINING = 4096  # problems, going round the symbols


class Identity:
    """``symbols`` different symbols (digits, then letters); ``test`` is the size of validation and test alike."""

    def __init__(self, *, symbols: Count, test: Count) -> None:
        if not 1 <= symbols <= len(ALPHABET):
            raise UserError(f"task.symbols={symbols}: allowed: 1 to {len(ALPHABET)}")
        if test < 1:
            raise UserError(f"task.test={test}: allowed: at least 1")
        sizes = {"train": TRAINING, "val": test, "test": test}
        self._splits = {split: LazyProblems(partial(_problem, split, symbols), sizes[split]) for split in SPLITS}

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, each symbol in its turn."""
        return self._splits[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """The question and nothing else."""
        return [Message("user", problem.question)]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Right where the reply, or what it boxes, is the symbol."""
        said = reply.strip()
        if not said:
            return Verdict(None, False, "no answer")
        inside = boxed(reply)
        if problem.answer in (said, inside):
            return Verdict(problem.answer, True, "right")
        return Verdict((inside or said)[:LONGEST_ANSWER], False, "wrong")

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair."""
        return [self.grade(problem, reply) for problem, reply in pairs]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem of a line, by its ``id``."""
        if "id" not in row:
            raise UserError("field 'id' is missing")
        named = re.fullmatch(r"identity-[a-z]+-(\d{1,9})", str(row["id"]))
        index = int(named[1]) if named else 0
        for problems in self._splits.values():
            if index < len(problems) and problems[index].id == row["id"]:
                return problems[index]
        raise UserError(f"field 'id' is {row['id']!r}, which this task does not know")


def _problem(split: Split, symbols: int, index: int) -> Problem:
    symbol = ALPHABET[index % symbols]
    meta = {"level": 1, "subject": "Identity", "solution": symbol}
    return Problem(id=f"identity-{split}-{index}", question=f"Say {symbol}", answer=symbol, meta=meta)
